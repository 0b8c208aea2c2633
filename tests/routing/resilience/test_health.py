"""Health: who stands where after which failure, by a clock that the test moves."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.errors import (
    AttemptError,
    AttemptTimeoutError,
    ContextLengthError,
    DeniedError,
    ProviderDownError,
    RateLimitedError,
    RejectedError,
)
from tierflow.routing import Rank
from tierflow.routing.resilience import Guard
from tierflow.settings import Deployment

A, B, C = (Deployment(model=f"openai/{name}") for name in "abc")


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def order(guard: Guard) -> str:
    """The models as ranked, best first."""
    return "".join(each.deployment.model[-1] for each in guard.rank(Rank((A, B, C))))


def test_well_deployments_keep_the_order_they_were_given_in() -> None:
    assert order(Guard(Clock())) == "abc"


@pytest.mark.parametrize(
    "kind", [AttemptTimeoutError, RateLimitedError, ProviderDownError, DeniedError]
)
def test_a_failed_deployment_stands_behind_the_others_for_half_a_minute(
    kind: type[AttemptError],
) -> None:
    clock = Clock()
    guard = Guard(clock)

    guard.health.failed(A, kind("failed"))

    assert order(guard) == "bca"
    clock.now += 29.9
    assert order(guard) == "bca"
    clock.now += 0.1
    assert order(guard) == "abc"


@pytest.mark.parametrize("kind", [ContextLengthError, RejectedError])
def test_a_fault_of_the_request_is_not_held_against_the_deployment(
    kind: type[AttemptError],
) -> None:
    guard = Guard(Clock())

    guard.health.failed(A, kind("failed"))

    assert order(guard) == "abc"


def test_a_deployment_that_may_not_be_asked_stands_behind_one_that_failed() -> None:
    guard = Guard(Clock())

    guard.health.failed(A, RateLimitedError("failed", retry_after_s=5))
    guard.health.failed(B, ProviderDownError("failed"))

    assert order(guard) == "cba"


def test_the_wait_shrinks_as_time_passes_and_never_goes_below_zero() -> None:
    clock = Clock()
    guard = Guard(clock)
    guard.health.failed(A, RateLimitedError("failed", retry_after_s=50))

    waits: list[float] = []
    for _ in range(3):
        waits.append(guard.rank(Rank((A,)))[0].wait_s)
        clock.now += 30

    assert waits == [50, 20, 0]


def test_a_reply_makes_a_deployment_well_again() -> None:
    guard = Guard(Clock())
    guard.health.failed(A, ProviderDownError("failed"))

    guard.health.replied(A)

    assert order(guard) == "abc"


def test_a_reply_that_was_under_way_does_not_lift_a_retry_after() -> None:
    guard = Guard(Clock())
    guard.health.failed(A, RateLimitedError("failed", retry_after_s=5))

    guard.health.replied(A)

    assert guard.rank(Rank((A,)))[0].wait_s == 5


def test_the_same_model_at_another_endpoint_is_another_deployment() -> None:
    here = Deployment(model="openai/a", api_base="http://here/v1")
    there = Deployment(model="openai/a", api_base="http://there/v1")
    guard = Guard(Clock())

    guard.health.failed(here, ProviderDownError("failed"))

    assert [each.deployment for each in guard.rank(Rank((here, there)))] == [there, here]


DEPLOYMENTS = tuple(Deployment(model=f"openai/{number}") for number in range(5))
Event = Callable[[Guard, Clock], None]


def failing(who: Deployment, retry_after_s: float | None) -> Event:
    return lambda them, _: them.health.failed(
        who, RateLimitedError("no", retry_after_s=retry_after_s)
    )


def replying(who: Deployment) -> Event:
    return lambda them, _: them.health.replied(who)


def passing(seconds: float) -> Event:
    return lambda _, clock: setattr(clock, "now", clock.now + seconds)


deployments = st.sampled_from(DEPLOYMENTS)
events = st.one_of(
    st.builds(failing, deployments, st.none() | st.floats(0, 100)),
    st.builds(replying, deployments),
    st.builds(passing, st.floats(0, 60)),
)


@given(st.lists(events, max_size=20), st.permutations(DEPLOYMENTS), st.integers(0, 5))
def test_a_ranking_is_always_a_permutation_with_the_shortest_wait_first(
    history: list[Event], given_order: list[Deployment], count: int
) -> None:
    clock = Clock()
    guard = Guard(clock)
    for event in history:
        event(guard, clock)

    ranked = guard.rank(Rank(tuple(given_order[:count])))

    assert sorted(each.deployment.name for each in ranked) == sorted(
        each.name for each in given_order[:count]
    )
    assert [each.wait_s for each in ranked] == sorted(each.wait_s for each in ranked)
    assert all(each.wait_s >= 0 for each in ranked)
