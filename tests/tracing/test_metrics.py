"""Metrics: what operators watch, summed from one step or many."""

from typing import Any

import pytest
from pydantic import BaseModel

from tests.conftest import Catalogue
from tests.fakes import BreakStream, Fail, FakeProvider, Say
from tests.tasks.ways import Way, both_ways, plain
from tierflow import Cascade, Chunk, Prompt, model_judge
from tierflow.errors import AllDeploymentsFailedError
from tierflow.tracing import names
from tierflow.tracing.evaluation_event import emit_evaluation
from tierflow.tracing.genai import tokens_per_second

from .emitted import Emitted, Series

FULL = Say("here", input_tokens=100, output_tokens=20, cached_tokens=40, reasoning_tokens=5)
RULE = Cascade(to="frontier", judge=model_judge("standard", "Is it right?"), max_loss=None)


class Shown:
    """The series of all metrics since the last look."""

    def __init__(self, emitted: Emitted) -> None:
        self.all = emitted.series()

    def of(self, metric: names.Metric, **labels: Any) -> list[Series]:
        wanted = {f"tierflow.{name.replace('_', '.')}": value for name, value in labels.items()}
        return [
            each
            for each in self.all
            if each.metric == metric.name and wanted.items() <= each.labels.items()
        ]

    def sum(self, metric: names.Metric, **labels: Any) -> float:
        return sum(each.value for each in self.of(metric, **labels))


def ignore(_: Chunk) -> None:
    """Stream, and drop what comes."""


class City(BaseModel):
    city: str


def usd(input_tokens: int, output_tokens: int) -> float:
    return (input_tokens * 1 + output_tokens * 10) / 1e6


@both_ways
def test_what_had_arrived_of_a_broken_stream_is_counted_but_not_timed(
    way: Way, catalogue: Catalogue, provider: FakeProvider, emitted: Emitted
) -> None:
    catalogue()
    provider.script("fast", BreakStream(2, "one two three"))

    with pytest.raises(AllDeploymentsFailedError):
        way.step(plain, on_chunk=ignore)("Where is it?")

    shown = Shown(emitted)
    assert shown.sum(names.TOKENS, role="answer", tier="fast") > 0
    assert shown.sum(names.COST, tier="fast") > 0
    assert shown.sum(names.REQUEST_COUNT, outcome="ok") == 0
    assert not shown.of(names.FIRST_TOKEN)


@both_ways
def test_a_call_is_counted_with_its_tokens_and_its_cost(
    way: Way, catalogue: Catalogue, provider: FakeProvider, emitted: Emitted
) -> None:
    catalogue()
    provider.script("fast", FULL)

    way.step(plain)("Where is it?")

    shown = Shown(emitted)
    kinds = {
        each.labels["tierflow.token.kind"]: each.value
        for each in shown.of(names.TOKENS, step="plain", role="answer", model="fast", tier="fast")
    }
    assert kinds == {"input": 100, "cached_read": 40, "output": 20, "reasoning": 5}
    assert shown.sum(names.COST, model="fast") == pytest.approx(usd(100, 20))
    assert (
        shown.sum(names.REQUEST_COST) == shown.sum(names.STEP_COST) == pytest.approx(usd(100, 20))
    )
    assert shown.sum(names.REQUEST_COUNT, outcome="ok", step="plain") == 1
    assert shown.sum(names.STEP_COUNT, outcome="ok", cache="miss") == 1
    assert shown.sum(names.STEP_DURATION) >= 0
    (rate,) = shown.of(names.RATE)
    assert rate.labels["tierflow.streamed"] is False
    unused = (names.HIT_COUNT, names.ESCALATION_COUNT, names.FAILOVER_COUNT, names.FIRST_TOKEN)
    assert not any(shown.of(metric) for metric in unused)


def test_a_hit_costs_nothing_and_is_a_step_all_the_same(
    catalogue: Catalogue, provider: FakeProvider, emitted: Emitted
) -> None:
    catalogue()
    provider.script("fast", FULL)
    step = Way(is_async=False).step(plain)
    step("Where is it?")
    emitted.clear()

    step("Where is it?")

    shown = Shown(emitted)
    assert shown.sum(names.HIT_COUNT, cache="exact") == 1
    (cost,) = shown.of(names.STEP_COST, cache="exact")
    assert (cost.value, cost.count) == (0, 1)
    assert not shown.of(names.REQUEST_COUNT)


def test_a_streamed_call_tells_when_its_first_piece_came_and_how_they_followed(
    catalogue: Catalogue, provider: FakeProvider, emitted: Emitted
) -> None:
    catalogue()
    provider.script("fast", Say("one two three"))

    answer = Way(is_async=False).step(plain, on_chunk=ignore)("Where is it?")

    shown = Shown(emitted)
    assert answer.ttft_ms is not None
    assert answer.itl_ms is not None
    assert answer.itl_p95_ms is not None
    assert shown.sum(names.FIRST_TOKEN) == pytest.approx(answer.ttft_ms / 1000)
    assert shown.sum(names.GAP_MEAN) == pytest.approx(answer.itl_ms / 1000)
    assert shown.sum(names.GAP_P95) == pytest.approx(answer.itl_p95_ms / 1000)
    (rate,) = shown.of(names.RATE)
    assert rate.labels["tierflow.streamed"] is True


def test_tokens_per_second_are_those_after_the_first_chunk() -> None:
    assert tokens_per_second(20, 2000.0, None) == 10
    assert tokens_per_second(20, 2000.0, 1000.0) == 20
    assert tokens_per_second(20, 2000.0, 2000.0) is None
    assert tokens_per_second(0, 2000.0, None) is None


def test_a_judges_calls_are_told_apart_by_their_role_and_an_escalation_is_counted(
    catalogue: Catalogue, provider: FakeProvider, emitted: Emitted
) -> None:
    catalogue()
    provider.script("fast", Say("cheap", input_tokens=10, output_tokens=1))
    provider.script(
        "standard", Say({"score": 0.1, "reason": "no"}, input_tokens=100, output_tokens=10)
    )
    provider.script("frontier", Say("strong", input_tokens=30, output_tokens=3))

    Way(is_async=False).step(plain, cascade=RULE)("Where is it?")

    shown = Shown(emitted)
    assert shown.sum(names.COST, role="judge", tier="standard") == pytest.approx(usd(100, 10))
    assert shown.sum(names.COST, role="answer", tier="fast") == pytest.approx(usd(10, 1))
    assert shown.sum(names.COST, role="answer", tier="frontier") == pytest.approx(usd(30, 3))
    assert shown.sum(names.ESCALATION_COUNT, step="plain", tier="frontier") == 1


def test_failed_requests_are_counted_by_their_error_and_name_the_model(
    catalogue: Catalogue, provider: FakeProvider, emitted: Emitted
) -> None:
    catalogue(fast=["a", "b"])
    provider.script("a", Fail(429))
    provider.script("b", Fail(503))

    with pytest.raises(AllDeploymentsFailedError):
        Way(is_async=False).step(plain)("Where is it?")

    shown = Shown(emitted)
    assert shown.sum(names.REQUEST_COUNT, outcome="RateLimitedError", model="a") == 1
    assert shown.sum(names.REQUEST_COUNT, outcome="ProviderDownError", model="b") == 1
    assert shown.sum(names.STEP_COUNT, outcome="AllDeploymentsFailedError") == 1
    assert shown.sum(names.FAILOVER_COUNT) == 2
    assert not shown.of(names.REQUEST_COST)


def test_what_has_no_price_is_counted_apart_and_costs_no_zero(
    project: Any, provider: FakeProvider, emitted: Emitted
) -> None:
    provider.script("a", Say("here"))
    (project / "tierflow.toml").write_text(
        f'[tiers.fast]\ndeployments = [{{ model = "openai/a", api_base = "{provider.base_url}" }}]'
    )

    Way(is_async=False).step(plain)("Where is it?")

    shown = Shown(emitted)
    assert shown.sum(names.UNPRICED_COUNT, model="a") == 1
    assert not any(shown.of(each) for each in (names.COST, names.REQUEST_COST, names.STEP_COST))


def of_acme(ask: str) -> Prompt:
    return Prompt(ask=ask, tenant="acme")


@pytest.mark.parametrize("wanted", [False, True])
def test_tenants_are_told_apart_only_where_the_settings_say_so(
    wanted: bool, catalogue: Catalogue, provider: FakeProvider, emitted: Emitted
) -> None:
    path = catalogue()
    path.write_text(f"{path.read_text()}\n[telemetry]\ntenant_label = {str(wanted).lower()}\n")
    provider.script("fast", FULL)

    Way(is_async=False).step(of_acme)("Where is it?")
    labels = {names.TENANT: "acme", names.STEP: "of_acme"}
    emit_evaluation("helpful", 1.0, None, None, None, None, None, labels)

    told = {each.metric for each in emitted.series() if names.TENANT in each.labels}
    shown = {names.COST.name, names.STEP_COUNT.name, names.EVALUATION_SCORES.name}
    assert shown <= told if wanted else not told


def test_no_label_holds_an_id_or_what_a_table_does_not_list(
    catalogue: Catalogue, provider: FakeProvider, emitted: Emitted
) -> None:
    catalogue()
    provider.script("fast", FULL)

    answer = Way(is_async=False).step(of_acme)("Where is it?")

    for each in emitted.series():
        values = set(map(str, each.labels.values()))
        assert not values & {answer.ref, answer.trace_id, answer.span_id, "Where is it?", "acme"}
