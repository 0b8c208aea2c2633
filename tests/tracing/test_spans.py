"""Spans: what a whole step leaves behind for OpenTelemetry, and what it keeps to itself."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from pydantic import BaseModel

from tests.conftest import Catalogue
from tests.fakes import Fail, FakeProvider, Say
from tests.tasks.ways import Way, both_ways, plain
from tierflow import Cascade, Chunk, Prompt, Sampling, agreement, model_judge
from tierflow.errors import (
    AllDeploymentsFailedError,
    UnparseableReplyError,
)
from tierflow.request import Reply, Request, Usage
from tierflow.settings import Deployment
from tierflow.telemetry_settings import TelemetrySettings
from tierflow.tracing import attempt, names, span_ids

from .emitted import attributes

CANARY = "canary-7f3a"
ROOT = Path(__file__).parents[2]


def by_name(exporter: InMemorySpanExporter) -> dict[str, list[ReadableSpan]]:
    """The finished spans by name, in the order they began."""
    named: dict[str, list[ReadableSpan]] = {}
    for each in sorted(exporter.get_finished_spans(), key=lambda span: span.start_time or 0):
        named.setdefault(each.name, []).append(each)
    return named


def lineage(exporter: InMemorySpanExporter) -> list[tuple[str, ...]]:
    """Each span's name after those of its ancestors."""
    spans = {span.context.span_id: span for span in exporter.get_finished_spans() if span.context}

    def line(span: ReadableSpan) -> tuple[str, ...]:
        above = spans.get(span.parent.span_id) if span.parent else None
        return (*(line(above) if above else ()), span.name)

    return sorted(line(span) for span in spans.values())


def ignore(_: Chunk) -> None:
    """Stream, and drop what comes."""


@both_ways
def test_a_step_is_an_internal_span_around_a_client_span_for_the_call(
    way: Way, catalogue: Catalogue, provider: FakeProvider, exporter: InMemorySpanExporter
) -> None:
    catalogue()
    provider.script("fast", Say("here"))

    answer = way.step(plain)("Where is it?")

    assert lineage(exporter) == [("step plain",), ("step plain", "chat fast")]
    spans = by_name(exporter)
    (step,), (chat,) = spans["step plain"], spans["chat fast"]
    assert (step.kind, chat.kind) == (SpanKind.INTERNAL, SpanKind.CLIENT)
    assert (step.status.status_code, chat.status.status_code) == (StatusCode.UNSET,) * 2
    assert step.context is not None
    assert answer.trace_id == trace.format_trace_id(step.context.trace_id)
    assert answer.span_id == trace.format_span_id(step.context.span_id)


@both_ways
def test_a_call_has_the_attributes_of_the_genai_conventions(
    way: Way, catalogue: Catalogue, provider: FakeProvider, exporter: InMemorySpanExporter
) -> None:
    catalogue()
    provider.script(
        "fast",
        Say(
            "here",
            input_tokens=100,
            output_tokens=20,
            cached_tokens=40,
            reasoning_tokens=5,
            response_model="fast-2026",
        ),
    )
    sampling = Sampling(temperature=0.5, top_p=0.9, max_tokens=50, seed=7, stop=("END",))

    way.step(plain, sampling=sampling)("Where is it?")

    (chat,) = by_name(exporter)["chat fast"]
    found = attributes(chat)
    assert found.pop("gen_ai.response.id").startswith("chatcmpl-fake-")
    assert found.pop("server.port") == int(provider.root_url.rpartition(":")[2])
    assert found.pop(names.COST_USD) == pytest.approx((100 * 1 + 20 * 10) / 1e6)
    assert found.pop(names.TOKENS_PER_SECOND) > 0
    assert found == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "fast",
        "gen_ai.output.type": "text",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.max_tokens": 50,
        "gen_ai.request.seed": 7,
        "gen_ai.request.stop_sequences": ("END",),
        "gen_ai.response.model": "fast-2026",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 40,
        "gen_ai.usage.reasoning.output_tokens": 5,
        "server.address": "127.0.0.1",
        "tierflow.step": "plain",
        "tierflow.tier": "fast",
        "tierflow.role": "answer",
    }


@both_ways
def test_a_streamed_call_says_so_and_when_its_first_chunk_came(
    way: Way, catalogue: Catalogue, provider: FakeProvider, exporter: InMemorySpanExporter
) -> None:
    catalogue()
    provider.script("fast", Say("one two three"))

    way.step(plain, on_chunk=ignore)("Where is it?")
    way.step(plain, cache=None)("Where is it?")

    streamed, whole = map(attributes, by_name(exporter)["chat fast"])
    assert streamed["gen_ai.request.stream"] is True
    times = ("gen_ai.response.time_to_first_chunk", names.ITL_MEAN, names.ITL_P95)
    assert all(isinstance(streamed[name], float) for name in times)
    assert not {"gen_ai.request.stream", *times} & whole.keys()


class City(BaseModel):
    city: str


def test_a_structured_reply_is_json(
    catalogue: Catalogue, provider: FakeProvider, exporter: InMemorySpanExporter
) -> None:
    catalogue()
    provider.script("fast", Say({"city": "Bonn"}))

    Way(is_async=False).step(plain, returns=City)("Where is it?")

    (chat,) = by_name(exporter)["chat fast"]
    assert attributes(chat)["gen_ai.output.type"] == "json"


@both_ways
def test_a_step_says_how_its_answer_came_about(
    way: Way, catalogue: Catalogue, provider: FakeProvider, exporter: InMemorySpanExporter
) -> None:
    catalogue(fast=["a", "b"])
    provider.script("a", Fail(500))
    provider.script("b", Say("here", input_tokens=100, output_tokens=20))

    def asked(ask: str) -> Prompt:
        return Prompt(ask=ask, tenant="acme")

    step = way.step(asked)
    step("Where is it?")
    step("Where is it?")

    first, again = map(attributes, by_name(exporter)["step asked"])
    assert len({first.pop("tierflow.ref"), again.pop("tierflow.ref")}) == 2
    assert first == {
        "tierflow.step": "asked",
        "tierflow.model": "b",
        "tierflow.outcome": "ok",
        "tierflow.asks": 1,
        "tierflow.usage.input_tokens": 100,
        "tierflow.usage.output_tokens": 20,
        "tierflow.tier": "fast",
        "tierflow.tenant": "acme",
        "tierflow.cache": "miss",
        "tierflow.escalations": 0,
        "tierflow.failed_attempts": 1,
        "tierflow.cost.usd": pytest.approx((100 * 1 + 20 * 10) / 1e6),
    }
    assert (again["tierflow.cache"], again["tierflow.cost.usd"]) == ("exact", 0.0)
    assert again["tierflow.cost.saved_usd"] == first["tierflow.cost.usd"]
    assert [len(by_name(exporter)[chat]) for chat in ("chat a", "chat b")] == [1, 1]


@both_ways
def test_what_has_no_price_is_unpriced_and_has_no_cost(
    way: Way, project: Path, provider: FakeProvider, exporter: InMemorySpanExporter
) -> None:
    provider.script("a", Say("here"))
    (project / "tierflow.toml").write_text(
        f'[tiers.fast]\ndeployments = [{{ model = "openai/a", api_base = "{provider.base_url}" }}]'
    )

    assert way.step(plain)("Where is it?").cost_usd is None

    spans = [attributes(span) for span in exporter.get_finished_spans()]
    assert len(spans) == 2
    assert all(each[names.UNPRICED] is True for each in spans)
    assert all(names.COST_USD not in each for each in spans)


@both_ways
def test_each_failed_attempt_is_a_span_with_the_type_of_its_error(
    way: Way, catalogue: Catalogue, provider: FakeProvider, exporter: InMemorySpanExporter
) -> None:
    catalogue(fast=["a", "b"])
    provider.script("a", Fail(429))
    provider.script("b", Fail(503))

    with pytest.raises(AllDeploymentsFailedError):
        way.step(plain)("Where is it?")

    spans = by_name(exporter)
    kinds = {
        "chat a": "RateLimitedError",
        "chat b": "ProviderDownError",
        "step plain": "AllDeploymentsFailedError",
    }
    for name, kind in kinds.items():
        (span,) = spans[name]
        assert span.status.status_code is StatusCode.ERROR
        assert attributes(span)["error.type"] == kind
        # OpenTelemetry would put the error's message, and so the provider's words, in an event.
        assert span.events == ()


@both_ways
def test_a_judges_own_calls_lie_within_its_span(
    way: Way, catalogue: Catalogue, provider: FakeProvider, exporter: InMemorySpanExporter
) -> None:
    catalogue(standard=["j1", "j2"])
    provider.script("fast", Say("cheap"))
    provider.script("j1", Fail(500))
    provider.script("j2", Say({"score": 0.25, "reason": CANARY}))
    provider.script("frontier", Say("strong"))
    rule = Cascade(to="frontier", judge=model_judge("standard", "Is it right?"), max_loss=None)

    way.step(plain, cascade=rule)("Where is it?")

    assert lineage(exporter) == [
        ("step plain",),
        ("step plain", "chat fast"),
        ("step plain", "chat frontier"),
        ("step plain", "judge model"),
        ("step plain", "judge model", "chat j1"),
        ("step plain", "judge model", "chat j2"),
    ]
    spans = by_name(exporter)
    (judge,), (step,) = spans["judge model"], spans["step plain"]
    assert judge.kind is SpanKind.INTERNAL
    assert attributes(judge) == {
        "tierflow.judge": "model",
        "tierflow.judge.score": 0.25,
        "tierflow.judge.accepted": False,
        "tierflow.judge.reason": "standard scored 0.25",
    }
    assert attributes(spans["chat j2"][0])["tierflow.role"] == "judge"
    assert attributes(step)["tierflow.escalations"] == 1
    assert attributes(step)["tierflow.tier"] == "frontier"


@both_ways
def test_a_judge_that_fails_leaves_a_verdict_not_an_error(
    way: Way, catalogue: Catalogue, provider: FakeProvider, exporter: InMemorySpanExporter
) -> None:
    catalogue()
    provider.script("fast", Say("cheap"))
    provider.script("standard", Fail(500))
    provider.script("frontier", Say("strong"))

    way.step(plain, cascade=Cascade(to="frontier", judge=agreement("standard"), max_loss=None))(
        "Where is it?"
    )

    (judge,) = by_name(exporter)["judge agreement"]
    assert judge.status.status_code is StatusCode.UNSET
    assert attributes(judge)["tierflow.judge.reason"] == "no verdict: AllDeploymentsFailedError"


def test_span_ids_are_none_where_no_span_is_open() -> None:
    assert span_ids() == (None, None)


WITHOUT_SDK = """
from opentelemetry import trace
from tierflow import llm_task

@llm_task(tier="fast")
def asked(ask: str) -> str:
    return ask

answer = asked.answer.fn("Where is it?")
print(type(trace.get_tracer_provider()).__name__, answer.value, answer.trace_id, answer.span_id)
"""


def test_without_an_sdk_nothing_breaks(catalogue: Catalogue, provider: FakeProvider) -> None:
    path = catalogue()
    provider.script("fast", Say("here"))

    said = subprocess.run(
        [sys.executable, "-c", WITHOUT_SDK],
        env={**os.environ, "TIERFLOW_CONFIG": str(path), "PYTHONPATH": str(ROOT)},
        cwd=path.parent,
        check=True,
        capture_output=True,
        text=True,
    ).stdout

    assert said == "ProxyTracerProvider here None None\n"


WRITTEN = {
    "v1.41.1": "gen_ai.usage.cache_creation.input_tokens",
    "latest": "gen_ai.usage.cache_write.input_tokens",
}


@pytest.mark.parametrize("profile", WRITTEN)
def test_tokens_written_to_a_cache_have_the_name_of_the_profile(
    profile: Literal["v1.41.1", "latest"], exporter: InMemorySpanExporter
) -> None:
    request = Request("plain", ({"role": "user", "content": "a"},))
    usage = Usage(input_tokens=10, output_tokens=1, cache_write_tokens=7)
    reply = Reply("here", "fast", "a", "a", usage, cost_usd=None, latency_ms=1.0)
    deployment = Deployment(model="anthropic/a", api_base="https://engine.example/v1")
    telemetry = TelemetrySettings(profile=profile)

    with attempt(
        deployment, request, Sampling(), tier="fast", role="answer", telemetry=telemetry
    ) as span:
        span.reply(reply)

    (chat,) = exporter.get_finished_spans()
    found = attributes(chat)
    assert {name: found.get(name) for name in WRITTEN.values()} == {
        name: 7 if of == profile else None for of, name in WRITTEN.items()
    }
    # The conventions want a port wherever there is an address.
    assert (found["server.address"], found["server.port"]) == ("engine.example", 443)


@both_ways
def test_a_step_that_fails_says_what_was_paid_for_it(
    way: Way, catalogue: Catalogue, provider: FakeProvider, exporter: InMemorySpanExporter
) -> None:
    catalogue()
    provider.script("fast", Say("no JSON", input_tokens=100, output_tokens=20))

    with pytest.raises(UnparseableReplyError):
        way.step(plain, returns=City)("Where is it?")

    found = attributes(by_name(exporter)["step plain"][0])
    assert found["error.type"] == found[names.OUTCOME] == "UnparseableReplyError"
    assert found[names.ASKS] == 2
    assert found[names.COST_USD] == pytest.approx(2 * (100 * 1 + 20 * 10) / 1e6)
