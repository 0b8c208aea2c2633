"""A real MLflow server gets a flow run's trace, its tokens and costs, and feedback on an answer."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import ABOVE_A_CALL, StartInbox, ledger_of
from .servers import answered, eventually, free_port, python_program, running

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]

MLFLOW = "mlflow==3.17.2"
API = "/api/3.0/mlflow/traces"


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of one."""
    program, folder = python_program(MLFLOW, "mlflow"), tmp_path_factory.mktemp("mlflow")
    port = free_port()
    listens = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", "artifacts"]
    url = f"http://127.0.0.1:{port}"
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true"}
    with running([program, "server", *listens, *stores], folder, f"{url}/health", **quiet):
        yield url


def test_a_flow_run_is_a_trace_with_tokens_costs_and_feedback(
    mlflow: str, inbox: StartInbox
) -> None:
    named = answered("POST", f"{mlflow}/api/2.0/mlflow/experiments/create", json={"name": "shop"})
    experiment = str(named["experiment_id"])
    running_inbox = inbox(
        f"""[telemetry]
dialects = ["mlflow"]
[evaluations.sinks.mlflow]
kind = "mlflow"
url = "{mlflow}"
""",
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{mlflow}/v1/traces",
        OTEL_EXPORTER_OTLP_TRACES_HEADERS=f"x-mlflow-experiment-id={experiment}",
    )
    flow_run_id, ref = running_inbox.run("Where is it?")
    of_experiment = {
        "type": "MLFLOW_EXPERIMENT",
        "mlflow_experiment": {"experiment_id": experiment},
    }

    def with_feedback() -> Any:
        asked = {"locations": [of_experiment], "max_results": 10}
        found: Any = answered("POST", f"{mlflow}{API}/search", json=asked).get("traces", [])
        return found if found and len(found[0].get("assessments", [])) == 4 else None

    (trace,) = eventually(with_feedback)
    rows = ledger_of(flow_run_id)
    (row,) = (row for row in rows if row.ref == ref)
    assert (trace["trace_id"], trace["state"]) == (f"tr-{row.trace_id}", "OK")

    about = trace["trace_metadata"]
    assert about["mlflow.trace.session"] == flow_run_id
    spent = sum(each.cost_usd or 0 for each in rows)
    assert json.loads(about["mlflow.trace.cost"])["total_cost"] == pytest.approx(spent)
    usage = json.loads(about["mlflow.trace.tokenUsage"])
    assert usage["input_tokens"] == sum(each.input_tokens for each in rows)
    assert usage["output_tokens"] == sum(each.output_tokens for each in rows)
    assert usage["cache_read_input_tokens"] == sum(each.cache_read_tokens for each in rows)

    feedback = {each["assessment_name"]: each for each in trace["assessments"]}
    assert feedback["helpful"]["feedback"]["value"] == 0.75
    source = {"source_type": "LLM_JUDGE", "source_id": "standard"}
    assert feedback["helpful"]["source"] == source
    assert feedback["satisfaction"]["source"]["source_type"] == "HUMAN"
    assert feedback["safety"]["metadata"]["tierflow.label"] == "pass"
    assert feedback["helpful"]["span_id"] == row.span_id

    artifact = f"{mlflow}/ajax-api/3.0/mlflow/get-trace-artifact"
    spans: Any = answered("GET", artifact, params={"request_id": trace["trace_id"]})["spans"]
    assert above("chat shop-large", spans) == ABOVE_A_CALL
    assert above("chat gpt-4o", spans)[:2] == ["judge model", "step escalated"]
    kinds = {each["name"]: said(each, "mlflow.spanType") for each in spans}
    assert kinds["invoke_workflow inbox"] == kinds["step escalated"] == "CHAIN"
    assert (kinds["judge model"], kinds["chat gpt-4o"]) == ("EVALUATOR", "CHAT_MODEL")
    strong = next(each for each in spans if each["name"] == "chat shop-large")
    assert said(strong, "mlflow.llm.model") == "shop-large"
    assert said(strong, "mlflow.llm.cost")["total_cost"] == said(strong, "tierflow.cost.usd")


def said(span: Any, attribute: str) -> Any:
    """What MLflow has of a span: every value is JSON."""
    return json.loads(span["attributes"][attribute]) if attribute in span["attributes"] else None


def above(name: str, spans: list[Any]) -> list[str]:
    """The names of a span's ancestors, the nearest first; of a task run, its name's first word."""
    by_id = {base64.b64decode(each["span_id"]): each for each in spans}
    span = next(each for each in spans if each["name"] == name)
    found = list[str]()
    while span.get("parent_span_id"):
        span = by_id[base64.b64decode(span["parent_span_id"])]
        found.append(span["name"].partition("-")[0])
    return found
