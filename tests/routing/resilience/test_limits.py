"""Limits: rpm and tpm, by a clock that the test moves; then several workers with one file."""

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.routing.world import World, a_request, scripted
from tierflow.errors import DeadlineExceededError, StoreError
from tierflow.request import Sampling, Usage
from tierflow.routing import NamedTier, Trail
from tierflow.routing.failover import failover
from tierflow.routing.resilience import Level, Limit, Limits
from tierflow.routing.resilience.sql_shared import SqlShared
from tierflow.settings import Deployment, Tier

EVER = math.inf


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def limited(**limits: float) -> Deployment:
    return Deployment.model_validate({"model": "openai/a", **limits})


def waits(limits: Limits, deployment: Deployment, count: int, tokens: int = 0) -> list[float]:
    booked = [limits.book(deployment, tokens, EVER) for _ in range(count)]
    return [round(each, 6) for each in booked if each is not None]


def test_a_burst_of_ten_seconds_passes_and_the_rest_is_spread_evenly() -> None:
    assert waits(Limits(Clock()), limited(rpm=12), 5) == [0, 0, 5, 10, 15]


def test_the_tightest_limit_decides() -> None:
    assert waits(Limits(Clock()), limited(rpm=6000, tpm=600), 3, tokens=100) == [0, 10, 20]


def test_what_would_wait_too_long_is_not_booked() -> None:
    limits, deployment = Limits(Clock()), limited(rpm=6000, tpm=600)
    assert limits.book(deployment, 100, EVER) == 0
    assert limits.book(deployment, 100, 9) is None
    assert limits.wait_s(deployment, 100) == pytest.approx(10)
    # Nor did the refused call use up a request.
    assert limits.book(deployment, 100, 10) == pytest.approx(10)


def test_tokens_that_were_not_used_are_given_back() -> None:
    limits, deployment = Limits(Clock()), limited(tpm=600)
    assert limits.book(deployment, 100, EVER) == 0
    limits.settle(deployment, 100, 10)
    assert limits.book(deployment, 90, EVER) == 0
    assert limits.wait_s(deployment, 10) == pytest.approx(1)


def test_tokens_beyond_the_reserved_are_waited_for_by_the_next() -> None:
    limits, deployment = Limits(Clock()), limited(tpm=600)
    limits.book(deployment, 100, EVER)
    limits.settle(deployment, 100, 150)
    assert limits.book(deployment, 10, EVER) == pytest.approx(6)


def test_a_request_greater_than_a_burst_is_let_through_in_time() -> None:
    assert waits(Limits(Clock()), limited(tpm=600), 2, tokens=200) == [10, 30]


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(1, 50)), max_size=30))
def test_no_minute_takes_more_than_the_limit_and_a_burst(
    steps: list[tuple[float, int]],
) -> None:
    clock, deployment = Clock(), limited(tpm=600)
    limits, taken = Limits(clock), list[tuple[float, int]]()
    for passed, tokens in steps:
        clock.now += passed
        wait_s = limits.book(deployment, tokens, EVER)
        assert wait_s is not None
        taken.append((clock.now + wait_s, tokens))
    for start, _ in taken:
        within = sum(tokens for at, tokens in taken if start <= at < start + 60)
        assert within <= 600 + Limit(600).capacity + 1e-3


@given(st.floats(0, 1e9), st.floats(0, 1e9), st.floats(0, 1000))
def test_a_clock_that_goes_back_fills_nothing(first: float, second: float, amount: float) -> None:
    limit = Limit(600)
    level = Level().less(limit, max(first, second), amount)
    assert level.filled(limit, min(first, second)) == level.balance or first == second


@pytest.fixture
def places(tmp_path: Path) -> Iterator[list[SqlShared]]:
    opened = [SqlShared(tmp_path / "breakers.db") for _ in range(3)]
    yield opened
    for each in opened:
        each.close()


def test_workers_share_one_limit(places: list[SqlShared]) -> None:
    clock = Clock()
    deployment = limited(rpm=120)
    workers = [Limits(clock, place) for place in places]

    given_at_once = sum(
        each.book(deployment, 0, 0.0) is not None for _ in range(20) for each in workers
    )

    # A burst is 20; each worker may hold a second's worth, 2, that it did not use.
    assert 20 - 2 * len(workers) <= given_at_once <= 21


def test_what_a_worker_took_ahead_is_given_back_at_its_end(places: list[SqlShared]) -> None:
    first, second = (Limits(Clock(), place) for place in places[:2])
    deployment = limited(rpm=120)
    assert first.book(deployment, 0, 0.0) == 0.0
    first.close()
    assert sum(second.book(deployment, 0, 0.0) is not None for _ in range(30)) in {19, 20}


def test_without_the_store_each_worker_has_the_limit_to_itself(tmp_path: Path) -> None:
    (tmp_path / "breakers.db").mkdir()
    told: list[StoreError] = []
    with closing(SqlShared(tmp_path / "breakers.db")) as broken:
        limits = Limits(Clock(), broken, told.append)
        assert waits(limits, limited(rpm=12), 4) == [0, 0, 5, 10]
    assert len(told) == 1


def a_limited_tier(*limits: dict[str, float], **options: float) -> NamedTier:
    deployments = [
        Deployment.model_validate({"model": f"openai/{name}", **each})
        for name, each in zip("abc", limits, strict=False)
    ]
    return NamedTier("fast", Tier.model_validate({"deployments": deployments, **options}))


def test_a_call_waits_where_there_is_nobody_else() -> None:
    world, tier = World(scripted(a=["from a"])), a_limited_tier({"rpm": 6})
    for _ in range(3):
        world.run(failover(tier, a_request(), Trail()))
    assert [at for at, _ in world.asks] == [0, 10, 20]


def test_waits_for_an_own_limit_do_not_count_against_max_wait_s() -> None:
    world, tier = World(scripted(a=["from a"])), a_limited_tier({"rpm": 1}, max_wait_s=0)
    for _ in range(2):
        world.run(failover(tier, a_request(), Trail()))
    assert world.pauses == [60]


def test_the_next_deployment_is_asked_when_that_is_sooner() -> None:
    world = World(scripted(a=["from a"], b=["from b"]))
    tier = a_limited_tier({"rpm": 6}, {"rpm": 12})
    for _ in range(4):
        world.run(failover(tier, a_request(), Trail()))
    assert world.asked == ["a", "b", "b", "b"]
    assert world.pauses == [5.0]


def test_no_one_waits_beyond_the_deadline_for_a_limit() -> None:
    world, tier = World(scripted(a=["from a"])), a_limited_tier({"rpm": 6})
    world.run(failover(tier, a_request(), Trail()))
    with pytest.raises(DeadlineExceededError, match="may be asked in 10 s"):
        world.run(failover(tier, a_request(), Trail(left_s=lambda: 5.0)))
    assert len(world.asks) == 1
    assert world.pauses == []


def test_a_reply_settles_what_was_reserved_for_it() -> None:
    world = World(scripted(a=["from a"]))
    tier, request = a_limited_tier({"tpm": 6000}), a_request(sampling=Sampling(max_tokens=70))
    for _ in range(30):
        # Each reserves about 85 tokens and uses 12.
        world.run(failover(tier, request, Trail()))
    assert world.pauses == []
    assert world.asks[0][1].admission.tokens > 70
    assert Usage(10, 2) == world.run(failover(tier, request, Trail())).usage
