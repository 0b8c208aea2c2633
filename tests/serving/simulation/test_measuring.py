"""Measuring: what streams and a prompt that joined them tell of the iterations between."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Any

import pytest

from tierflow.errors import SimulationError
from tierflow.serving.simulation.measuring import Runs, Told, seen


@dataclass(frozen=True)
class Replied:
    ttft_s: float = 0.001
    gaps_s: tuple[float, ...] = ()
    input_tokens: int = 10
    error: str | None = None


def a_stream(*gaps_ms: float, sent: float = 0.0) -> Told:
    return Told(sent, Replied(0.010, tuple(each / 1000 for each in gaps_ms)))


QUIET, LATER = [10.0] * 5, [10.0] * 5


def test_gaps_while_the_prompt_is_read_are_counted_back_from_its_first_token() -> None:
    # 70 tokens in chunks of 32 beside two streams: 30, 30 and 10.
    streams = [a_stream(*QUIET, 42, 44, 25, *LATER) for _ in "ab"]
    joined = Told(0.055, Replied(0.060 - 0.055 + 0.111, (), 70))
    run = seen(32, streams, joined)
    assert run.setting.model_dump() == {
        "max_num_batched_tokens": 32,
        "decodes": 2,
        "decode_context": 64,
        "prompt_tokens": 70,
    }
    assert run.gaps_ms == pytest.approx((42, 44, 25))
    assert run.quiet_ms == pytest.approx([10.0] * 8)
    assert run.ttft_ms == pytest.approx(116)


def test_of_streams_that_saw_it_differently_the_median_counts() -> None:
    late = (40, 44, 70)
    streams = [a_stream(*QUIET, 42, 44, 25 + each, *LATER) for each in (0, 1, 4)]
    run = seen(32, streams, Told(0.055, Replied(0.060 - 0.055 + 0.115, (), 70)))
    assert len(late) == len(run.gaps_ms)
    assert run.gaps_ms[:2] == pytest.approx((42, 44))
    assert run.gaps_ms[2] == pytest.approx(26)


def test_a_stream_that_ended_before_tells_nothing() -> None:
    run = seen(32, [a_stream(*QUIET)], Told(0.055, Replied(0.2, (), 70)))
    assert run.gaps_ms == ()
    assert run.ttft_ms == 200


@dataclass
class Scripted:
    """A client whose engine counts a token a word and writes at once, at times by its own clock."""

    per_word: int = 1
    error: str | None = None

    async def ask(self, body: Mapping[str, Any]) -> Replied:
        words = len(body["messages"][0]["content"].split())
        gaps = (0.001,) * (body["max_tokens"] - 1)
        return Replied(0.001, gaps, 5 + self.per_word * words, self.error)


async def test_a_prompt_is_made_as_long_as_it_shall_be() -> None:
    ticks = count()
    runs = Runs(Scripted(per_word=3), 64, lambda: float(next(ticks)), Random(0))
    await runs.warm_up()
    run = await runs.join(0, 605)
    assert run.setting.prompt_tokens == 605
    assert (run.setting.decodes, run.quiet_ms) == (0, ())


async def test_an_engine_that_counts_nothing_or_fails_is_told_with_a_remedy() -> None:
    silent = Runs(Scripted(per_word=0), 64, lambda: 0.0, Random(0))
    with pytest.raises(SimulationError, match="usage"):
        await silent.warm_up()
    failing = Runs(Scripted(error="HTTP 400"), 64, lambda: 0.0, Random(0))
    with pytest.raises(SimulationError, match=r"HTTP 400.*--prompt-tokens"):
        await failing.warm_up()


@dataclass
class Stuck:
    """A client whose engine never ends what is longer than two tokens, and reads nothing long."""

    async def ask(self, body: Mapping[str, Any]) -> Replied:
        words = len(body["messages"][0]["content"].split())
        if body["max_tokens"] > 100:
            await asyncio.Event().wait()
        return Replied(0.001, (), 5 + words, "HTTP 400" if words > 300 else None)


async def test_when_the_prompt_fails_the_streams_are_left() -> None:
    runs = Runs(Stuck(), 64, lambda: 0.0, Random(0))
    await runs.warm_up()
    with pytest.raises(SimulationError, match="HTTP 400"):
        await runs.join(4, 605)
    assert asyncio.all_tasks() == {asyncio.current_task()}
