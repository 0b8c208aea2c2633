"""A real Phoenix gets a flow run's trace, its tokens and costs, and what was found of an answer."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.conftest import PRICES

from .conftest import ABOVE_A_CALL, StartInbox, ledger_of
from .servers import answered, eventually, free_port, python_program, running

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]

PHOENIX = "arize-phoenix==20.26.1"
SPANS = "/v1/projects/default/spans"
PRICED = """mutation ($name: String!, $costs: [TokenPriceInput!]!) {
  createModel(input: {name: $name, namePattern: $name, costs: $costs}) { model { name } }
}"""
COSTS = """{ projects { edges { node {
  costSummary { total { cost } }
  sessions(first: 10) { edges { node { sessionId numTraces costSummary { total { cost } } } } }
} } } }"""


@pytest.fixture(scope="module")
def phoenix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of one that knows the prices of the tests' models."""
    program, folder = python_program(PHOENIX, "phoenix"), tmp_path_factory.mktemp("phoenix")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environ = {
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(free_port()),
        "PHOENIX_WORKING_DIR": str(folder),
        "PHOENIX_TELEMETRY_ENABLED": "false",
    }
    with running([program, "serve"], folder, f"{url}/healthz", **environ):
        for model in ("gpt-4o-mini", "gpt-4o", "shop-large"):
            graphql(url, PRICED, name=model, costs=prices())
        yield url


def prices() -> list[Mapping[str, object]]:
    """Those of every model here, as Phoenix's settings take them."""
    kinds = {"input": "PROMPT", "output": "COMPLETION"}
    return [
        {
            "tokenType": token,
            "kind": kind,
            "costPerMillionTokens": PRICES[f"{token}_usd_per_mtok"],
        }
        for token, kind in kinds.items()
    ]


def graphql(url: str, query: str, **variables: object) -> Any:
    asked = {"query": query, "variables": variables}
    found = answered("POST", f"{url}/graphql", json=asked)
    assert "errors" not in found, found
    return found["data"]


def test_a_flow_run_is_a_trace_with_tokens_costs_and_evaluations(
    phoenix: str, inbox: StartInbox
) -> None:
    running_inbox = inbox(
        f"""[telemetry]
dialects = ["phoenix"]
[evaluations.sinks.phoenix]
kind = "phoenix"
url = "{phoenix}"
""",
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{phoenix}/v1/traces",
    )
    flow_run_id, ref = running_inbox.run("Where is it?")

    def whole() -> list[Any]:
        found: Any = answered("GET", f"{phoenix}{SPANS}", params={"limit": 100})["data"]
        return found if any(each["name"] == "invoke_workflow inbox" for each in found) else []

    spans = eventually(whole)
    assert above("chat shop-large", spans) == ABOVE_A_CALL
    assert above("chat gpt-4o", spans)[:2] == ["judge model", "step escalated"]
    assert sum(each["name"].startswith("chat ") for each in spans) == 4
    kinds = {each["name"]: each["span_kind"] for each in spans}
    assert kinds["invoke_workflow inbox"] == kinds["step escalated"] == "CHAIN"
    assert (kinds["judge model"], kinds["chat gpt-4o"]) == ("EVALUATOR", "LLM")

    cheap = next(each["attributes"] for each in spans if each["name"] == "chat gpt-4o-mini")
    assert cheap["llm.model_name"] == "gpt-4o-mini"
    assert (cheap["llm.token_count.prompt"], cheap["llm.token_count.completion"]) == (100, 20)
    assert cheap["llm.token_count.prompt_details.cache_read"] == 40

    rows = ledger_of(flow_run_id)
    spent = sum(row.cost_usd or 0 for row in rows)
    (row,) = (row for row in rows if row.ref == ref)
    step = next(each for each in spans if each["context"]["span_id"] == row.span_id)
    assert step["attributes"]["tierflow.cost.usd"] == row.cost_usd

    def costs() -> Any:
        (project_,) = graphql(phoenix, COSTS)["projects"]["edges"]
        return project_["node"] if project_["node"]["costSummary"]["total"]["cost"] else None

    summed = eventually(costs)
    assert summed["costSummary"]["total"]["cost"] == pytest.approx(spent)
    (session,) = (each["node"] for each in summed["sessions"]["edges"])
    assert (session["sessionId"], session["numTraces"]) == (flow_run_id, 1)
    assert session["costSummary"]["total"]["cost"] == pytest.approx(spent)

    def annotations() -> Any:
        url = f"{phoenix}/v1/projects/default/span_annotations"
        found: Any = answered("GET", url, params={"span_ids": row.span_id})["data"]
        return found if len(found) == 4 else None

    found = {each["name"]: each for each in eventually(annotations)}
    assert found["helpful"]["result"]["score"] == 0.75
    assert found["helpful"]["annotator_kind"] == "LLM"
    assert found["satisfaction"]["annotator_kind"] == "HUMAN"
    assert found["safety"]["result"]["label"] == "pass"
    assert found["helpful"]["metadata"]["tierflow.ref"] == ref


def above(name: str, spans: list[Any]) -> list[str]:
    """The names of a span's ancestors, the nearest first; of a task run, its name's first word."""
    by_id = {each["context"]["span_id"]: each for each in spans}
    span = next(each for each in spans if each["name"] == name)
    found = list[str]()
    while span["parent_id"] is not None:
        span = by_id[span["parent_id"]]
        found.append(span["name"].partition("-")[0])
    return found
