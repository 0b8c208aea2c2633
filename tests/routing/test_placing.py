"""Placing: a tier whose deployment is a pool, through the plan alone with a clock of its own."""

from collections.abc import Callable, Generator
from typing import Any

import pytest

from tierflow.errors import (
    AllDeploymentsFailedError,
    AttemptError,
    DeadlineExceededError,
    ProviderDownError,
    RateLimitedError,
    RejectedError,
)
from tierflow.routing import Ask, Hedge, NamedTier, Place, Placed, Rank, Standing, Trail
from tierflow.routing.failover import failover
from tierflow.settings import Deployment, Tier

from .world import World, a_request

A, B, C = (f"http://{each}/v1" for each in "abc")
DOWN = ProviderDownError("it is down")
POOL = Deployment(model="openai/llama", pool="llama")
FAILING: list[str | AttemptError] = [DOWN]
OTHER = Deployment(model="openai/other")


def a_pooled_tier(*others: Deployment, max_wait_s: float = 0.0) -> NamedTier:
    return NamedTier("fast", Tier(deployments=(POOL, *others), max_wait_s=max_wait_s))


def by_replica(**scripts: list[str | AttemptError]) -> Callable[[Ask], str | AttemptError]:
    """Answer each replica, and "other", by its own list, the last entry for ever."""

    def answer(ask: Ask) -> str | AttemptError:
        name = (ask.deployment.api_base or "http://other")[7:].partition("/")[0]
        script = scripts[name]
        return script.pop(0) if len(script) > 1 else script[0]

    return answer


def a_world(replicas: tuple[str, ...] = (A, B, C), **scripts: list[str | AttemptError]) -> World:
    return World(by_replica(**scripts), replicas=replicas)


def replicas_asked(world: World) -> list[str | None]:
    return [ask.deployment.api_base for _, ask in world.asks]


def test_what_is_asked_is_the_deployment_at_a_replica_with_its_ticket() -> None:
    world = a_world(a=["from a"])

    reply = world.run(failover(a_pooled_tier(), a_request(), Trail(session="run-1")))

    (place,), ((_, ask),) = world.placed, world.asks
    assert reply.text == "from a"
    assert (place.deployment, place.session, place.excluded) == (POOL, "run-1", ())
    assert ask.deployment == POOL.at(A)
    assert ask.placed is not None
    assert ask.placed.ticket == 1


def test_another_replica_is_asked_before_another_deployment() -> None:
    world = a_world(a=[DOWN], b=["from b"], other=["from the other"])

    reply = world.run(failover(a_pooled_tier(OTHER), a_request(), Trail()))

    assert reply.text == "from b"
    assert replicas_asked(world) == [A, B]


def test_when_all_replicas_have_failed_the_deployment_has() -> None:
    world, trail = a_world(a=[DOWN], b=[DOWN], c=[DOWN], other=["from the other"]), Trail()

    reply = world.run(failover(a_pooled_tier(OTHER), a_request(), trail))

    assert reply.text == "from the other"
    assert replicas_asked(world) == [A, B, C, None]
    assert len(trail.failures) == 3


def test_of_many_replicas_four_are_tried() -> None:
    many = tuple(f"http://{each}/v1" for each in "abcdefgh")
    world = a_world(many, **dict.fromkeys("abcdefgh", FAILING))

    with pytest.raises(AllDeploymentsFailedError):
        world.run(failover(a_pooled_tier(), a_request(), Trail()))

    assert replicas_asked(world) == list(many[:4])


def test_a_pool_that_nobody_serves_fails_and_says_so() -> None:
    world = a_world(())

    with pytest.raises(AllDeploymentsFailedError, match="no replica of the pool"):
        world.run(failover(a_pooled_tier(), a_request(), Trail()))

    assert not world.asks


def test_a_request_that_is_wrong_everywhere_is_asked_once() -> None:
    world = a_world(a=[RejectedError("wrong")])

    with pytest.raises(RejectedError):
        world.run(failover(a_pooled_tier(OTHER), a_request(), Trail()))

    assert replicas_asked(world) == [A]


def test_a_replica_that_is_busy_gives_way_and_one_that_said_when_is_waited_for() -> None:
    later = RateLimitedError("busy", retry_after_s=5)
    world = a_world((A, B), a=[later, "from a"], b=[RateLimitedError("busy", retry_after_s=7)])

    reply = world.run(failover(a_pooled_tier(max_wait_s=30), a_request(), Trail()))

    assert reply.text == "from a"
    assert replicas_asked(world) == [A, B, A]
    assert world.pauses == [5.0]


def test_a_busy_pool_is_asked_twice_and_no_more() -> None:
    later = RateLimitedError("busy", retry_after_s=5)
    world = a_world((A, B), a=[later], b=[later])

    with pytest.raises(AllDeploymentsFailedError):
        world.run(failover(a_pooled_tier(max_wait_s=30), a_request(), Trail()))

    assert len(world.asks) == 4


def test_a_replica_whose_breaker_is_open_is_passed_by() -> None:
    world = a_world(a=[DOWN], b=["from b"])
    tier = a_pooled_tier()
    for _ in range(5):
        world.run(failover(tier, a_request(), Trail()))
    world.asks.clear()

    world.run(failover(tier, a_request(), Trail()))

    assert replicas_asked(world) == [B]


def test_a_pool_whose_breakers_are_all_open_stands_behind_other_deployments() -> None:
    world = a_world((A, B), a=[DOWN], b=[DOWN], other=["from the other"])
    tier = a_pooled_tier(OTHER)
    for _ in range(5):
        world.run(failover(tier, a_request(), Trail()))
    world.asks.clear()

    world.run(failover(tier, a_request(), Trail()))

    assert replicas_asked(world) == [None]


def test_a_half_open_replica_is_tried_by_one_call_and_closed_by_its_reply() -> None:
    world = a_world((A,), a=[DOWN, DOWN, DOWN, DOWN, DOWN, "from a"])
    tier = a_pooled_tier()
    for _ in range(5):
        with pytest.raises(AllDeploymentsFailedError):
            world.run(failover(tier, a_request(), Trail()))
    world.now += 10
    world.asks.clear()

    assert world.run(failover(tier, a_request(), Trail())).text == "from a"
    assert world.asks[0][1].admission.probe
    assert world.run(failover(tier, a_request(), Trail())).text == "from a"
    assert not world.asks[1][1].admission.probe


def test_the_pools_rate_limit_is_the_deployments_whichever_replica_answers() -> None:
    limited = POOL.model_copy(update={"rpm": 6.0})
    tier = NamedTier("fast", Tier(deployments=(limited,), max_wait_s=0.0))
    world = a_world((A, B), a=["from a"], b=["from b"])

    for _ in range(2):
        world.run(failover(tier, a_request(), Trail()))

    # One call, and the next ten seconds later.
    assert [at for at, _ in world.asks] == pytest.approx([0.0, 10.0])


def test_tokens_that_were_reserved_are_given_back_once() -> None:
    limited = POOL.model_copy(update={"tpm": 60_000.0})
    tier = NamedTier("fast", Tier(deployments=(limited,), max_wait_s=0.0))
    world = a_world((A, B), a=[RateLimitedError("busy")], b=["from b"])
    level = world.guard.limits.wait_s(limited, 10_000)

    world.run(failover(tier, a_request(), Trail()))

    assert world.guard.limits.wait_s(limited, 10_000) >= level


def usual(plan: Generator[Any, Any, Any]) -> list[object]:
    """Carry a plan out for deployments whose usual latency is known. Return its effects."""
    seen: list[object] = []
    effect = next(plan)
    while True:
        seen.append(effect)
        match effect:
            case Rank(deployments):
                effect = plan.send(tuple(Standing(each, 0.0, p95_s=0.1) for each in deployments))
            case Place(deployment):
                effect = plan.send(Placed(deployment.at(A), "llama", ticket=1))
            case _:
                plan.close()
                return seen


@pytest.mark.parametrize("deployments", [(POOL, OTHER), (OTHER, POOL)])
def test_a_hedge_never_asks_a_pool_that_was_not_placed(
    deployments: tuple[Deployment, ...],
) -> None:
    tier = NamedTier("fast", Tier(deployments=deployments, hedge=True))

    *_, asked = usual(failover(tier, a_request(), Trail()))

    if deployments[0] is POOL:
        assert isinstance(asked, Hedge)
        assert (asked.first.deployment, asked.second.deployment) == (POOL.at(A), OTHER)
    else:
        assert isinstance(asked, Ask)
        assert asked.deployment is OTHER


def test_no_replica_is_asked_after_the_deadline() -> None:
    world = a_world(a=[DOWN], b=["from b"])
    trail = Trail(left_s=lambda: 1.0 if not world.asks else 0.0)

    with pytest.raises(DeadlineExceededError):
        world.run(failover(a_pooled_tier(), a_request(), trail))

    assert replicas_asked(world) == [A]
