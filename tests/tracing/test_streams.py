"""Streamed calls: their span ends when the stream does, however that comes about."""

import asyncio
from contextlib import suppress

import pytest
from opentelemetry.trace import StatusCode

from tests.conftest import Catalogue
from tests.fakes import BreakStream, FakeProvider, Hang, Say
from tests.tasks.ways import Way, both_ways, plain, run_async
from tierflow import Chunk, TierflowError, llm_task

from .emitted import Emitted, attributes

FIRST = "gen_ai.response.time_to_first_chunk"


def ignore(_: Chunk) -> None:
    """Stream, and drop what comes."""


@both_ways
def test_a_stream_that_is_exhausted_has_its_reason_its_tokens_and_its_first_chunk(
    way: Way, catalogue: Catalogue, provider: FakeProvider, emitted: Emitted
) -> None:
    catalogue()
    provider.script("fast", Say("one two three", finish_reason="length", output_tokens=3))

    way.step(plain, on_chunk=ignore)("Where is it?")

    found = attributes(emitted.span("chat fast"))
    assert found["gen_ai.response.finish_reasons"] == ("length",)
    assert found["gen_ai.usage.output_tokens"] == 3
    assert found[FIRST] > 0
    gaps = [each for each in emitted.series() if each.metric.endswith("time_per_output_chunk")]
    assert [each.count for each in gaps] == [2]


@both_ways
def test_a_stream_that_breaks_off_is_an_error_that_knows_its_first_chunk(
    way: Way, catalogue: Catalogue, provider: FakeProvider, emitted: Emitted
) -> None:
    catalogue(fast=["a", "b"])
    provider.script("a", BreakStream(2, "one two three"))
    provider.script("b", Say("here"))

    way.step(plain, on_chunk=ignore)("Where is it?")

    span = emitted.span("chat a")
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["error.type"] == "ProviderDownError"
    assert attributes(span)[FIRST] > 0


@both_ways
def test_a_stream_that_its_listener_leaves_ends_with_that_error(
    way: Way, catalogue: Catalogue, provider: FakeProvider, emitted: Emitted
) -> None:
    catalogue()
    provider.script("fast", Say("one two three"))

    def leaves(_: Chunk) -> None:
        raise LookupError("enough")

    with pytest.raises(LookupError):
        way.step(plain, on_chunk=leaves)("Where is it?")

    for name in ("chat fast", "step plain"):
        assert attributes(emitted.span(name))["error.type"] == "LookupError"


@both_ways
def test_a_stream_that_the_deadline_ends_is_a_timeout(
    way: Way, catalogue: Catalogue, provider: FakeProvider, emitted: Emitted
) -> None:
    catalogue()
    provider.script("fast", Hang(60.0))

    with suppress(TierflowError):
        way.step(plain, on_chunk=ignore, deadline_s=0.3)("Where is it?")

    kind = attributes(emitted.span("chat fast"))["error.type"]
    assert kind in {"CancelledError", "AttemptTimeoutError"}


def test_a_stream_whose_step_is_cancelled_is_ended_and_the_step_is_too(
    catalogue: Catalogue, provider: FakeProvider, emitted: Emitted
) -> None:
    catalogue()
    provider.script("fast", Say("one two three", chunk_delay_s=0.2))
    heard = asyncio.Event()

    async def cancelled() -> None:
        loop = asyncio.get_running_loop()

        async def plain(ask: str) -> str:
            await asyncio.sleep(0)
            return ask

        def hears(_: Chunk) -> None:
            loop.call_soon_threadsafe(heard.set)

        step = llm_task(tier="fast", on_chunk=hears)(plain)
        running = asyncio.ensure_future(step.fn("Where is it?"))
        await heard.wait()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    run_async(cancelled)

    assert attributes(emitted.span("step plain"))["error.type"] == "CancelledError"
    assert attributes(emitted.span("chat fast"))["error.type"] == "CancelledError"
