"""Cooldown: who stands where after which failure, by a clock that the test moves."""

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
from tierflow.routing import Cooldowns
from tierflow.settings import Deployment

A, B, C = (Deployment(model=f"openai/{name}") for name in "abc")


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def order(cooldowns: Cooldowns) -> str:
    """The models as ranked, best first."""
    return "".join(each.deployment.model[-1] for each in cooldowns.rank((A, B, C)))


def test_well_deployments_keep_the_order_they_were_given_in() -> None:
    assert order(Cooldowns(Clock())) == "abc"


@pytest.mark.parametrize(
    "kind", [AttemptTimeoutError, RateLimitedError, ProviderDownError, DeniedError]
)
def test_a_failed_deployment_stands_behind_the_others_for_half_a_minute(
    kind: type[AttemptError],
) -> None:
    clock = Clock()
    cooldowns = Cooldowns(clock)

    cooldowns.failed(A, kind("failed"))

    assert order(cooldowns) == "bca"
    clock.now += 29.9
    assert order(cooldowns) == "bca"
    clock.now += 0.1
    assert order(cooldowns) == "abc"


@pytest.mark.parametrize("kind", [ContextLengthError, RejectedError])
def test_a_fault_of_the_request_is_not_held_against_the_deployment(
    kind: type[AttemptError],
) -> None:
    cooldowns = Cooldowns(Clock())

    cooldowns.failed(A, kind("failed"))

    assert order(cooldowns) == "abc"


def test_a_deployment_that_may_not_be_asked_stands_behind_one_that_failed() -> None:
    cooldowns = Cooldowns(Clock())

    cooldowns.failed(A, RateLimitedError("failed", retry_after_s=5))
    cooldowns.failed(B, ProviderDownError("failed"))

    assert order(cooldowns) == "cba"


def test_the_wait_shrinks_as_time_passes_and_never_goes_below_zero() -> None:
    clock = Clock()
    cooldowns = Cooldowns(clock)
    cooldowns.failed(A, RateLimitedError("failed", retry_after_s=50))

    waits: list[float] = []
    for _ in range(3):
        waits.append(cooldowns.rank((A,))[0].wait_s)
        clock.now += 30

    assert waits == [50, 20, 0]


def test_a_reply_makes_a_deployment_well_again() -> None:
    cooldowns = Cooldowns(Clock())
    cooldowns.failed(A, ProviderDownError("failed"))

    cooldowns.replied(A)

    assert order(cooldowns) == "abc"


def test_a_reply_that_was_under_way_does_not_lift_a_retry_after() -> None:
    cooldowns = Cooldowns(Clock())
    cooldowns.failed(A, RateLimitedError("failed", retry_after_s=5))

    cooldowns.replied(A)

    assert cooldowns.rank((A,))[0].wait_s == 5


def test_the_same_model_at_another_endpoint_is_another_deployment() -> None:
    here = Deployment(model="openai/a", api_base="http://here/v1")
    there = Deployment(model="openai/a", api_base="http://there/v1")
    cooldowns = Cooldowns(Clock())

    cooldowns.failed(here, ProviderDownError("failed"))

    assert [each.deployment for each in cooldowns.rank((here, there))] == [there, here]


DEPLOYMENTS = tuple(Deployment(model=f"openai/{number}") for number in range(5))
Event = Callable[[Cooldowns, Clock], None]


def failing(who: Deployment, retry_after_s: float | None) -> Event:
    return lambda them, _: them.failed(who, RateLimitedError("no", retry_after_s=retry_after_s))


def replying(who: Deployment) -> Event:
    return lambda them, _: them.replied(who)


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
    cooldowns = Cooldowns(clock)
    for event in history:
        event(cooldowns, clock)

    ranked = cooldowns.rank(given_order[:count])

    assert sorted(each.deployment.name for each in ranked) == sorted(
        each.name for each in given_order[:count]
    )
    assert [each.wait_s for each in ranked] == sorted(each.wait_s for each in ranked)
    assert all(each.wait_s >= 0 for each in ranked)
