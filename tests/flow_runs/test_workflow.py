"""The span of a flow run: what it lies in, what lies in it, and how it ends."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode
from prefect import flow, task
from prefect.settings import PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY, temporary_settings

from tests.fakes import Fail, FakeProvider
from tests.tracing.conformance import faults_of_span
from tests.tracing.emitted import Emitted, attributes
from tierflow.errors import AllDeploymentsFailedError
from tierflow.tracing import names

from .runs import ON_A_SERVER, ask_all, echo, echo_later, run_id, usd

pytestmark = ON_A_SERVER


def lines(emitted: Emitted, last: str = "") -> set[tuple[str, ...]]:
    """Each span (of a name) below its ancestors; of a run, its kind stands for its name."""
    spans = {span.context.span_id: span for span in emitted.spans() if span.context}

    def named(span: ReadableSpan) -> str:
        kind = attributes(span).get("prefect.run.type")
        return f"Prefect's {kind}" if kind else span.name

    def line(span: ReadableSpan) -> tuple[str, ...]:
        above = spans.get(span.parent.span_id) if span.parent else None
        return (*(line(above) if above else ()), named(span))

    return {line(span) for span in spans.values() if last in ("", span.name)}


@pytest.fixture
def untold() -> Iterator[None]:
    """Prefect opens no spans of its own."""
    with temporary_settings({PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY: False}):
        yield


INSIDE = ("Prefect's flow", "invoke_workflow traced", "Prefect's task")


def test_steps_lie_in_their_task_run_in_the_flow_run(
    echoing: FakeProvider, emitted: Emitted
) -> None:
    @flow(name="traced")
    def traced() -> None:
        echo("a")
        echo.map(["b", "c"]).wait()
        asyncio.run(later())

    @flow(name="later")
    async def later() -> None:
        await asyncio.gather(echo_later("d"), echo_later("e"))

    traced()

    assert len(echoing.calls) == 5
    assert lines(emitted, "chat fast") == {
        (*INSIDE, "step echo", "chat fast"),
        (
            *("Prefect's flow", "invoke_workflow traced", "Prefect's flow"),
            *("invoke_workflow later", "Prefect's task", "step echo_later", "chat fast"),
        ),
    }
    assert len({span.context.trace_id for span in emitted.spans() if span.context}) == 1


@pytest.mark.usefixtures("untold")
def test_without_spans_of_prefects_the_steps_lie_in_the_flow_run_all_the_same(
    echoing: FakeProvider, emitted: Emitted
) -> None:
    ask_all(["a", "b"])

    assert len(echoing.calls) == 2
    assert lines(emitted, "chat fast") == {("invoke_workflow ask-all", "step echo", "chat fast")}
    assert len({span.context.trace_id for span in emitted.spans() if span.context}) == 1


def test_it_says_what_the_flow_run_took(echoing: FakeProvider, emitted: Emitted) -> None:
    del echoing
    state = ask_all(["a", "a", "b"], return_state=True)

    span = emitted.span("invoke_workflow ask-all")
    assert span.kind is SpanKind.INTERNAL
    found = attributes(span)
    assert found["gen_ai.operation.name"] == "invoke_workflow"
    assert found["gen_ai.workflow.name"] == found["tierflow.flow"] == "ask-all"
    assert found[names.FLOW_RUN_ID] == str(run_id(state))
    assert (found[names.STEPS], found[names.HITS]) == (3, 1)
    assert found[names.COST_USD] == pytest.approx(2 * usd(1, 2))
    assert faults_of_span(span, emitted.at_start(span), "v1.41.1") == []
    series = emitted.series()
    (duration,) = (each for each in series if each.metric == "gen_ai.invoke_workflow.duration")
    assert duration.labels == {"gen_ai.workflow.name": "ask-all"}
    assert span.start_time is not None
    assert span.end_time is not None
    assert duration.value == pytest.approx((span.end_time - span.start_time) / 1e9, abs=1)
    (cost,) = (each for each in series if each.metric == "tierflow.flow.cost")
    assert cost.value == pytest.approx(2 * usd(1, 2))
    steps = [each for each in series if each.metric == "tierflow.step.count"]
    assert {each.labels["tierflow.flow"] for each in steps} == {"ask-all"}


def test_it_begins_when_the_flow_run_did(echoing: FakeProvider, emitted: Emitted) -> None:
    del echoing

    @task
    def prepare() -> None:
        """Do something before the first step."""

    @flow(name="traced")
    def traced() -> None:
        prepare()
        echo("a")

    traced()

    began = {span.name.partition("-")[0]: span.start_time or 0 for span in emitted.spans()}
    assert began["invoke_workflow traced"] <= began["prepare"] <= began["step echo"]


def test_a_failed_flow_run_names_its_error(echoing: FakeProvider, emitted: Emitted) -> None:
    del echoing

    @flow(name="traced")
    def traced() -> None:
        echo("a")
        raise LookupError("no secret of the flow's")

    traced(return_state=True)

    span = emitted.span("invoke_workflow traced")
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["error.type"] == "LookupError"
    assert "secret" not in span.to_json()
    (duration,) = (
        each for each in emitted.series() if each.metric == "gen_ai.invoke_workflow.duration"
    )
    assert duration.labels["error.type"] == "LookupError"


def test_a_flow_run_that_a_step_fails_names_the_steps_error(
    echoing: FakeProvider, emitted: Emitted
) -> None:
    echoing.script("fast", Fail(503))

    @flow(name="traced")
    def traced() -> None:
        echo("a")

    with pytest.raises(AllDeploymentsFailedError):
        traced()

    found = attributes(emitted.span("invoke_workflow traced"))
    assert found["error.type"] == "AllDeploymentsFailedError"
    assert found[names.FAILED_STEPS] == 1


def test_a_flow_run_that_is_tried_again_is_one_workflow(
    echoing: FakeProvider, emitted: Emitted
) -> None:
    del echoing
    tries: list[Any] = []

    @flow(name="traced", retries=1)
    def traced() -> None:
        tries.append(echo(f"try {len(tries)}"))
        if len(tries) == 1:
            raise LookupError

    traced()

    assert attributes(emitted.span("invoke_workflow traced"))[names.STEPS] == 2
    assert lines(emitted, "step echo") == {(*INSIDE, "step echo")}


def test_within_a_span_of_the_users_own_steps_stay_there(
    echoing: FakeProvider, emitted: Emitted
) -> None:
    del echoing

    @flow(name="traced")
    def traced() -> None:
        with trace.get_tracer("of a user").start_as_current_span("mine"):
            echo("a")

    traced()

    assert lines(emitted, "step echo") == {
        ("Prefect's flow", "mine", "Prefect's task", "step echo")
    }


def test_a_step_within_a_task_stays_in_the_task(echoing: FakeProvider, emitted: Emitted) -> None:
    del echoing

    @task
    def outer() -> None:
        echo("a")

    @flow(name="traced")
    def traced() -> None:
        echo("first")
        outer()

    traced()

    assert ("Prefect's flow", *INSIDE[2:], *INSIDE[2:], "step echo") in lines(emitted, "step echo")


def test_a_flow_run_without_steps_has_no_workflow(echoing: FakeProvider, emitted: Emitted) -> None:
    del echoing
    flow(name="traced")(lambda: 1)()
    assert lines(emitted) == {("Prefect's flow",)}
