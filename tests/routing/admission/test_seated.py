"""Failover of a batch's item: the plan alone, whose seats and replies the test hands out."""

from collections.abc import Generator
from typing import Any

import pytest

from tests.routing.world import a_reply, a_request, a_tier
from tierflow.errors import AllDeploymentsFailedError, DeadlineExceededError, RateLimitedError
from tierflow.routing import Ask, Rank, Seat, Seated, Standing, Trail
from tierflow.routing.failover import failover
from tierflow.settings import Deployment

TIER = a_tier("fast", "a", "b")
A, B = TIER.tier.deployments


def a_plan(trail: Trail | None = None) -> Generator[Any, Any, Any]:
    return failover(TIER, a_request(), trail or Trail(batch=7))


def seated_at(plan: Generator[Any, Any, Any], *standings: Standing, first: bool) -> Seated:
    """Answer a plan's Rank, and return what it wants to be seated for."""
    rank = next(plan) if first else plan.send(None)
    assert isinstance(rank, Rank)
    assert rank.seated
    seated = plan.send(standings)
    assert isinstance(seated, Seated)
    return seated


def ended(plan: Generator[Any, Any, Any], result: Any) -> Any:
    """Send the last result into a plan, and return the plan's own."""
    with pytest.raises(StopIteration) as done:
        plan.throw(result) if isinstance(result, Exception) else plan.send(result)
    return done.value.value


def crowded() -> RateLimitedError:
    error = RateLimitedError("too many")
    error.was_crowded = True
    return error


def test_a_call_is_made_in_its_seat() -> None:
    plan = a_plan()
    seated = seated_at(plan, Standing(A, 0.0), Standing(B, 0.0), first=True)
    assert (seated.deployment, seated.batch, seated.again) == (A, 7, False)
    turn = seated.plan(Seat(3))
    ask = next(turn)
    assert isinstance(ask, Ask)
    assert ask.admission.seat == 3
    reply = a_reply("yes")
    assert ended(turn, reply) is reply
    assert ended(plan, reply) is reply


def test_who_found_no_room_is_asked_again_as_often_as_it_takes() -> None:
    trail = Trail(batch=7)
    plan = a_plan(trail)
    for number in range(6):
        seated = seated_at(plan, Standing(A, 0.0), first=number == 0)
        assert seated.again is (number > 0)
        turn = seated.plan(Seat(number + 1))
        next(turn)
        assert ended(turn, crowded()) is None
    assert len(trail.failures) == 6


def test_a_refusal_of_another_kind_is_a_failure_as_ever() -> None:
    plan = a_plan()
    for number, deployment in enumerate((A, B)):
        turn = seated_at(plan, Standing(deployment, 0.0), first=number == 0).plan(Seat(1))
        next(turn)
        assert ended(turn, RateLimitedError("no quota")) is None
    with pytest.raises(AllDeploymentsFailedError, match="none is left to ask"):
        plan.send(None)


@pytest.mark.parametrize(
    ("crowds", "chosen"),
    [((0.0, 0.0), A), ((0.9, 0.1), A), ((1.5, 0.5), B), ((3.0, 2.0), B), ((2.0, 3.0), A)],
)
def test_deployments_are_asked_in_order_until_they_are_full(
    crowds: tuple[float, float], chosen: Deployment
) -> None:
    standings = [
        Standing(each, 0.0, crowd=crowd) for each, crowd in zip((A, B), crowds, strict=True)
    ]
    assert seated_at(a_plan(), *standings, first=True).deployment == chosen


def test_a_deployment_that_is_unwell_takes_nothing_over_from_a_full_one() -> None:
    standings = Standing(A, 0.0, crowd=9.0), Standing(B, 0.0, is_well=False)
    assert seated_at(a_plan(), *standings, first=True).deployment == A


def test_after_a_wait_another_that_is_ready_by_then_is_asked() -> None:
    plan = a_plan()
    seated = seated_at(plan, Standing(A, 0.0), Standing(B, 0.0), first=True)
    turn = seated.plan(Seat(1, waited=True))
    assert isinstance(next(turn), Rank)
    assert ended(turn, (Standing(B, 0.0), Standing(A, 3.0))) is None
    assert seated_at(plan, Standing(B, 0.0), Standing(A, 3.0), first=False).deployment == B


def test_without_a_seat_by_the_deadline_nobody_is_asked() -> None:
    left = iter([5.0, 0.0, 0.0])
    plan = a_plan(Trail(batch=7, left_s=lambda: next(left)))
    assert seated_at(plan, Standing(A, 0.0), first=True).most_wait_s == 5.0
    plan.send(None)
    with pytest.raises(DeadlineExceededError):
        plan.send((Standing(A, 0.0),))
