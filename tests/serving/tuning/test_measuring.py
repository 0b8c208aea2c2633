"""Measuring over real sockets: prompts that join replies, and loads of so many at a time."""

from typing import Any

import pytest

from tests.fakes import Fail, FakeProvider, Say, Step
from tierflow.errors import MeasuringError
from tierflow.serving.load import LoadClient
from tierflow.serving.tuning import Workload, measure_chunk, measure_level

LOAD = Workload(streams=3, prompt_tokens=100, reply_tokens=500, joins=2)


def engine(body: dict[str, Any]) -> Step:
    """Reads a prompt in a fifth of a second, and writes a piece every few milliseconds."""
    words = body["messages"][0]["content"].split()
    count = body["max_tokens"]
    return Say(
        " ".join(["so"] * count),
        input_tokens=2 * len(words),
        output_tokens=count,
        delay_s=0.2 if count == 1 else 0.0,
        chunk_delay_s=0.002,
    )


def texts(provider: FakeProvider, max_tokens: int) -> list[str]:
    return [
        call.body["messages"][0]["content"]
        for call in provider.calls
        if call.body["max_tokens"] == max_tokens
    ]


async def test_prompts_join_replies_that_are_under_way(provider: FakeProvider) -> None:
    provider.script("llama", engine)
    async with LoadClient.connected(provider.base_url) as client:
        found = await measure_chunk(client, 512, LOAD)

    assert (found.chunk_tokens, found.joins) == (512, 2)
    assert found.gaps >= LOAD.streams * LOAD.joins
    assert 0 < found.gap_p99_ms <= found.gap_max_ms
    assert found.ttft_ms > 0 < found.quiet_ms
    sample, *prompts = texts(provider, 1)
    # A word is two tokens here: it was weighed, and prompts have as many words as they need.
    assert [len(each.split()) for each in prompts] == [50, 50, 50]
    assert len(texts(provider, 500)) == 3 * LOAD.streams
    assert provider.max_in_flight("llama") == LOAD.streams + 1
    assert len({each.split()[0] for each in (sample, *prompts)}) > 1


async def test_replies_that_end_too_soon_are_no_measurement(provider: FakeProvider) -> None:
    provider.script("llama", engine)
    async with LoadClient.connected(provider.base_url) as client:
        with pytest.raises(MeasuringError, match="Allow longer replies"):
            await measure_chunk(client, 512, Workload(2, 100, 5, 1))
    provider.wait_until_idle()


async def test_an_engine_that_fails_is_no_measurement(provider: FakeProvider) -> None:
    provider.script("llama", [Say("yes", input_tokens=300), Fail(400)])
    async with LoadClient.connected(provider.base_url) as client:
        with pytest.raises(MeasuringError, match="HTTP 400"):
            await measure_level(client, 2, LOAD)


async def test_a_level_has_so_many_requests_under_way_none_of_which_begin_alike(
    provider: FakeProvider,
) -> None:
    provider.script("llama", engine)
    async with LoadClient.connected(provider.base_url) as client:
        found = await measure_level(client, 4, Workload(prompt_tokens=100, reply_tokens=8))

    assert found.concurrency == 4
    assert found.tokens_per_s > 0
    assert provider.max_in_flight("llama") == 4
    assert len(set(texts(provider, 8))) == 12
