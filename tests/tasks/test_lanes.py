"""Batches that ask a pool: long readings apart from the others, and the engines' own queue."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import Drop, FakeEngine, FakeProvider, Say
from tests.fakes.wire import Load
from tests.tasks.pooled import a_pool, asked, urls
from tests.tasks.ways import Way, both_ways, plain
from tierflow import Chunk
from tierflow.errors import ConfigError
from tierflow.settings import settings
from tierflow.tasks import hands

PATIENCE_S = 60.0
LONG = [f"tenant {each}:ask" for each in range(6)]
"""Prompts of some 600 tokens, no two of which begin alike."""
SHORT = [f"short {each}" for each in range(6)]


def slow(_: dict[str, Any]) -> Say:
    return Say("fine", delay_s=0.05)


def ignored(_: Chunk) -> None:
    """Receive a stream for nothing."""


@both_ways
class TestOnOnePool:
    """So many uncached tokens are read at once, of those requests that are long to read."""

    def test_long_readings_go_one_by_one(
        self, way: Way, project: Path, provider: FakeProvider
    ) -> None:
        limit = "prefill_heavy_tokens = 300\nprefill_tokens_at_once = 1000"
        a_pool(project, [provider.base_url], limit)
        provider.script("llama", slow)
        assert way.step(asked).batch(*LONG) == ["fine"] * 6
        assert provider.max_in_flight("llama") == 1

    def test_what_is_short_to_read_is_not_held_up(
        self, way: Way, project: Path, provider: FakeProvider
    ) -> None:
        limit = "prefill_heavy_tokens = 300\nprefill_tokens_at_once = 1"
        a_pool(project, [provider.base_url], limit)
        provider.script("llama", slow)
        assert way.step(plain).batch(*SHORT) == ["fine"] * 6
        assert provider.max_in_flight("llama") > 1

    def test_a_prefix_that_the_engine_holds_is_short_to_read(
        self, way: Way, project: Path, provider: FakeProvider
    ) -> None:
        limit = "prefill_heavy_tokens = 300\nprefill_tokens_at_once = 1"
        a_pool(project, [provider.base_url], limit)
        provider.script("llama", slow)
        step = way.step(asked)
        step.batch("tenant 0:first")
        step.batch(*(f"tenant 0:{each}" for each in SHORT))
        assert provider.max_in_flight("llama") > 1


@both_ways
class TestOnPoolsOfTheirOwn:
    """What is long to read goes to a pool that is set aside for it."""

    LANE = 'prefill_heavy_tokens = 300\nprefill_lane = "long"'

    def test_each_goes_to_its_pool(
        self, way: Way, project: Path, engines: list[FakeEngine]
    ) -> None:
        here, there = urls(engines)[:2]
        a_pool(project, [here], self.LANE, f'[pools.long]\nreplicas = ["{there}"]')
        assert way.step(asked).batch(*LONG) == ["from b"] * 6
        assert way.step(plain).batch(*SHORT) == ["from a"] * 6

    def test_where_that_pool_fails_its_own_answers(
        self, way: Way, project: Path, engines: list[FakeEngine]
    ) -> None:
        here, there = urls(engines)[:2]
        a_pool(project, [here], self.LANE, f'[pools.long]\nreplicas = ["{there}"]')
        engines[1].next(Drop())
        assert way.step(asked).batch(LONG[0]) == ["from a"]
        assert len(engines[1].all_calls) == 1


def test_a_lane_is_a_pool_that_is_there(project: Path) -> None:
    a_pool(project, ["http://127.0.0.1:9/v1"], 'prefill_lane = "nowhere"')
    with pytest.raises(ConfigError, match="prefill_lane names nowhere"):
        settings()


def test_a_lane_is_no_gateway(project: Path) -> None:
    lane = '[pools.long]\nreplicas = ["http://127.0.0.1:9/v1"]\naffinity = "gateway"'
    a_pool(project, ["http://127.0.0.1:8/v1"], 'prefill_lane = "long"', lane)
    with pytest.raises(ConfigError, match=r"\[pools.llama\] names long, and that is a gateway"):
        settings()


@both_ways
def test_what_waits_in_the_engine_itself_is_a_sign_of_too_many(
    way: Way, project: Path, provider: FakeProvider
) -> None:
    a_pool(project, [provider.base_url], "poll_s = 0.05")
    provider.set_loads(Load(waiting=50))
    provider.script("llama", slow)
    # Streams are not timed, so nothing else is.
    step = way.step(plain, cache=None, on_chunk=ignored)
    deadline = time.monotonic() + PATIENCE_S
    limit: int | None = None
    while limit is None or limit > 2:
        assert time.monotonic() < deadline, f"The limit is still {limit}."
        step.batch(*SHORT)
        limit = hands().admissions.limit_of("plain")
