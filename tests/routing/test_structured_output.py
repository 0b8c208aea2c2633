"""Structured output: the form of a result type as a provider is asked for it."""

import json
from typing import Any

import pytest

from tests.fakes import FakeProvider, Say
from tests.tasks.ways import run_async
from tierflow.routing import Ask, LiteLLMClient, NamedTier
from tierflow.settings import Deployment, Tier

from .world import a_request

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
COUNTS = {"type": "object", "additionalProperties": {"type": "integer"}}


@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
@pytest.mark.parametrize(
    ("schema", "strict"),
    [(CITY, True), (COUNTS, False), ({**CITY, "properties": {"counts": COUNTS}}, False)],
)
def test_only_a_schema_of_closed_objects_is_called_strict(
    schema: dict[str, Any], strict: bool, sync: bool, provider: FakeProvider
) -> None:
    provider.script("a", Say({"city": "Bonn"}))
    deployment = Deployment(model="openai/a", api_base=provider.base_url)
    tier = NamedTier("fast", Tier(deployments=(deployment,)))
    ask, client = Ask(deployment, tier, a_request(schema=schema), "answer", 1), LiteLLMClient({})

    reply = client.ask(ask) if sync else run_async(lambda: client.ask_async(ask))

    assert json.loads(reply.text) == {"city": "Bonn"}
    assert provider.calls[0].body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "result", "schema": schema, "strict": strict},
    }
