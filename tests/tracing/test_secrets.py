"""Secrets: no prompt, no reply and no key is in a span, however a step ends."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import BaseModel

from tests.fakes import Fail, FakeProvider, Say, Step
from tests.tasks.ways import Way, both_ways
from tierflow import Cascade, Chunk, Prompt, schema
from tierflow.errors import AllDeploymentsFailedError, RejectedError, UnparseableReplyError

CANARY = "canary-7f3a"
KEY = "sk-canary-of-a-key"


class City(BaseModel):
    city: str


def ignore(_: Chunk) -> None:
    """Stream, and drop what comes."""


def written(spans: Sequence[ReadableSpan]) -> str:
    """Everything that an exporter would send."""
    return "\n".join(span.to_json() for span in spans)


ENDINGS: dict[str, Step | list[Step]] = {
    "good": Say({"city": CANARY}),
    "mended": [Say(CANARY), Say({"city": CANARY})],
    "unreadable": Say(CANARY),
    "refused": Fail(400, f"You said {CANARY}"),
    "down": Fail(500, f"You said {CANARY}"),
}
"""Ways to end in which the prompt, the reply or a provider's words might come along."""


@pytest.fixture
def locked(project: Path, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> FakeProvider:
    """The provider behind a key, as the fast and the standard tier."""
    monkeypatch.setenv("ENGINE_KEY", KEY)
    tier = (
        f'deployments = [{{ model = "openai/a", api_base = "{provider.base_url}", '
        'api_key_env = "ENGINE_KEY" }]\n'
    )
    (project / "tierflow.toml").write_text(f"[tiers.fast]\n{tier}[tiers.standard]\n{tier}")
    return provider


@both_ways
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("ending", ENDINGS)
def test_no_prompt_no_reply_and_no_key_is_in_any_span(
    way: Way, ending: str, streamed: bool, locked: FakeProvider, exporter: InMemorySpanExporter
) -> None:
    locked.script("a", ENDINGS[ending])

    def asked(ask: str) -> Prompt:
        return Prompt(prefix=f"Guide {CANARY}", examples=[(CANARY, City(city=CANARY))], ask=ask)

    def is_other(value: City) -> bool:
        return value.city != CANARY

    step = way.step(
        asked,
        returns=City,
        cascade=Cascade(to="standard", judge=schema(is_other), max_loss=None),
        on_chunk=ignore if streamed else None,
    )
    with suppress(AllDeploymentsFailedError, RejectedError, UnparseableReplyError):
        step(f"Where is {CANARY}?")

    text = written(exporter.get_finished_spans())
    assert CANARY in str(locked.calls[0].body)
    assert KEY in str(locked.calls[0].headers)
    assert "step asked" in text
    assert "chat a" in text
    assert CANARY not in text
    assert KEY not in text
