"""A call is told once, also where another instrumentation of the client is at work."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.util.genai.handler import TelemetryHandler

from tests.conftest import Catalogue
from tests.fakes import FakeProvider, Say
from tests.tasks.ways import Way, both_ways, plain
from tierflow import Chunk
from tierflow.request import Request, Sampling
from tierflow.settings import Deployment
from tierflow.tracing import attempt

from .emitted import Emitted, attributes


@pytest.fixture
def instrumented() -> Iterator[None]:
    """OpenTelemetry's own instrumentation of the openai client, which litellm calls."""
    package: Any = pytest.importorskip(
        "opentelemetry.instrumentation.genai.openai",
        reason="the instrumentation is missing: pip install 'tierflow[test]'",
    )
    instrumentor = package.OpenAIInstrumentor()
    instrumentor.instrument()
    yield
    instrumentor.uninstrument()


def ignore(_: Chunk) -> None:
    """Stream, and drop what comes."""


@both_ways
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.usefixtures("instrumented")
def test_an_instrumented_client_adds_no_second_span_and_no_second_count(
    *,
    way: Way,
    streamed: bool,
    catalogue: Catalogue,
    provider: FakeProvider,
    emitted: Emitted,
) -> None:
    catalogue()
    provider.script("fast", Say("one two", input_tokens=100, output_tokens=20))

    way.step(plain, on_chunk=ignore if streamed else None)("Where is it?")

    assert Counter(span.name for span in emitted.spans()) == {"step plain": 1, "chat fast": 1}
    series = emitted.series()
    durations = [each for each in series if each.metric == "gen_ai.client.operation.duration"]
    assert sum(each.count for each in durations) == 1
    tokens = [each for each in series if each.metric == "gen_ai.client.token.usage"]
    assert sum(each.value for each in tokens) == 120
    found = attributes(emitted.span("chat fast"))
    assert found["gen_ai.usage.input_tokens"] == 100
    assert found["tierflow.tier"] == "fast"


def test_what_is_opened_within_a_call_is_taken_for_the_same_call(emitted: Emitted) -> None:
    request = Request("plain", ({"role": "user", "content": "a"},))
    deployment = Deployment(model="openai/fast", api_base="http://127.0.0.1:1/v1")

    with attempt(deployment, request, Sampling(), tier="fast", role="answer"):
        nested = TelemetryHandler().inference("openai", request_model="another")
        nested.input_tokens = 7
        nested.stop()

    (span,) = emitted.spans()
    assert span.name == "chat fast"
    assert attributes(span)["gen_ai.request.model"] == "fast"
