"""Spans: what a whole step leaves behind for OpenTelemetry, and what it keeps to itself."""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as gen_ai
from opentelemetry.trace import SpanKind, StatusCode
from pydantic import BaseModel

from tests.conftest import Catalogue
from tests.fakes import Fail, FakeProvider, Say, Step
from tests.tasks.ways import Way, both_ways, plain
from tierflow import Cascade, Chunk, Prompt, Sampling, agreement, model_judge, schema
from tierflow.errors import (
    AllDeploymentsFailedError,
    RejectedError,
    UnparseableReplyError,
)
from tierflow.tracing import names, span_ids

CANARY = "canary-7f3a"
KEY = "sk-canary-of-a-key"
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


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def ignore(_: Chunk) -> None:
    """Stream, and drop what comes."""


def written(spans: Sequence[ReadableSpan]) -> str:
    """Everything that an exporter would send."""
    return "\n".join(span.to_json() for span in spans)


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


def test_provider_names_are_those_of_the_conventions() -> None:
    known = {
        "azure.ai.openai",
        "aws.bedrock",
        "gcp.gemini",
        "gcp.vertex_ai",
        "mistral_ai",
        "x_ai",
    }

    assert set(names.PROVIDERS.values()) <= known


def test_attribute_names_are_those_of_the_conventions() -> None:
    known = {value for value in vars(gen_ai).values() if isinstance(value, str)}
    ours = {value for value in vars(names).values() if isinstance(value, str)}
    attributes = ours - {names.EVALUATION_EVENT}

    assert {name for name in attributes if name.startswith("gen_ai.")} <= known


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
    assert first == {
        "tierflow.step": "asked",
        "tierflow.tier": "fast",
        "tierflow.tenant": "acme",
        "tierflow.cache": "miss",
        "tierflow.escalations": 0,
        "tierflow.failed_attempts": 1,
        "tierflow.cost.usd": pytest.approx((100 * 1 + 20 * 10) / 1e6),
    }
    assert (again["tierflow.cache"], again["tierflow.cost.usd"]) == ("exact", 0.0)
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
