"""Budgets on a request's way through a tier: who is passed by, what is settled, when it ends."""

from asyncio import CancelledError
from typing import Any

import pytest

from tests.routing.world import World, a_request, scripted
from tierflow import Sampling, Usage
from tierflow.budgets import Budget
from tierflow.errors import (
    AllDeploymentsFailedError,
    AttemptError,
    BudgetExhaustedError,
    ConfigError,
    ProviderDownError,
    RejectedError,
)
from tierflow.request import Reply
from tierflow.routing import Ask, Hedge, NamedTier, Pause, Raced, Rank, Standing, Trail
from tierflow.routing.budgets import Purse, Reserve, Reserved, Settle, Short, Spender, purse_of
from tierflow.routing.failover import failover
from tierflow.settings import Deployment, Tier

from .sums import LATE

REPLY = Sampling(max_tokens=1000)
"""So a dear call is likely to cost a cent, and a cheap one a tenth of that."""


def a_deployment(name: str, usd_per_mtok: float | None = None) -> Deployment:
    prices: dict[str, Any] = {}
    if usd_per_mtok is not None:
        prices = {"input_usd_per_mtok": 0.0, "output_usd_per_mtok": usd_per_mtok}
    return Deployment(model=f"openai/{name}", **prices)


DEAR, CHEAP, FREE = a_deployment("dear", 10.0), a_deployment("cheap", 1.0), a_deployment("free", 0)


def a_tier(*deployments: Deployment, **options: Any) -> NamedTier:
    return NamedTier("fast", Tier(deployments=deployments, sampling=REPLY, **options))


def a_purse(usd: float, **fields: Any) -> Purse:
    budget = Budget.model_validate({"usd": usd, "per": "run"} | fields)
    purse = purse_of((budget,), None, Spender("step", "run-1"), lambda: LATE)
    assert purse is not None
    return purse


def spent(world: World) -> float:
    return sum(each.spent for each in world.budgets.balances())


def held(world: World) -> float:
    return sum(each.held for each in world.budgets.balances())


def asked(world: World, tier: NamedTier, trail: Trail) -> Reply:
    reply: Reply = world.run(failover(tier, a_request(), trail))
    return reply


def test_a_call_is_paid_from_the_budget_at_what_it_cost() -> None:
    world = World(scripted(dear=["yes"]))
    trail = Trail(purse=a_purse(0.05))

    reply = asked(world, a_tier(DEAR), trail)

    assert spent(world) == reply.cost_usd == 0.01
    assert held(world) == 0.0


def test_without_a_budget_nothing_is_set_aside() -> None:
    plan = failover(a_tier(DEAR), a_request(), Trail())
    assert isinstance(next(plan), Rank)
    assert isinstance(plan.send((Standing(DEAR, 0.0),)), Ask)


@pytest.mark.parametrize(
    "fields", [{"deployment": "openai/cheap"}, {"usd": 0.01}], ids=["another's", "free"]
)
def test_what_no_budget_holds_for_or_costs_nothing_sets_nothing_aside(
    fields: dict[str, Any],
) -> None:
    deployment = FREE if "usd" in fields else DEAR
    purse = a_purse(**({"usd": 0.01} | fields))
    plan = failover(a_tier(deployment), a_request(), Trail(purse=purse))
    assert isinstance(next(plan), Rank)
    assert isinstance(plan.send((Standing(deployment, 0.0),)), Ask)


def test_whoever_costs_too_much_is_passed_by_for_a_cheaper_one() -> None:
    world = World(scripted(dear=["never"], cheap=["yes"]))

    asked(world, a_tier(DEAR, CHEAP), Trail(purse=a_purse(0.005)))

    assert world.asked == ["cheap"]


def test_where_nobody_fits_nobody_is_asked_and_it_is_said_why() -> None:
    world = World(scripted(dear=["never"], cheap=["never"]))

    with pytest.raises(BudgetExhaustedError) as caught:
        asked(world, a_tier(DEAR, CHEAP), Trail(purse=a_purse(0.0005)))

    assert world.asked == []
    error = caught.value
    assert (error.limit_usd, error.spent_usd, error.held_usd) == (0.0005, 0.0, 0.0)
    assert error.needed_usd == pytest.approx(0.001)
    for text in ("$0.0005 a run", "$0 of $0.0005 spent", "openai/cheap", "$0.001", "[[budgets]]"):
        assert text in str(error)
    assert [each.run for each in world.exhausted] == ["run-1"]


def test_where_the_cheaper_one_failed_the_budget_is_what_is_missing() -> None:
    world = World(scripted(dear=["never"], cheap=[ProviderDownError("down")]))

    with pytest.raises(BudgetExhaustedError, match="Before that: down"):
        asked(world, a_tier(DEAR, CHEAP), Trail(purse=a_purse(0.005)))

    assert world.asked == ["cheap"]
    assert (spent(world), held(world)) == (0.0, 0.0)


def test_where_the_budget_was_enough_a_tier_that_is_down_is_down() -> None:
    world = World(scripted(dear=[ProviderDownError("down")]))

    with pytest.raises(AllDeploymentsFailedError):
        asked(world, a_tier(DEAR), Trail(purse=a_purse(0.05)))

    assert (spent(world), held(world)) == (0.0, 0.0)


def test_an_error_that_ends_the_tier_at_once_gives_back_what_was_set_aside() -> None:
    world = World(scripted(dear=[RejectedError("no")]))

    with pytest.raises(RejectedError):
        asked(world, a_tier(DEAR), Trail(purse=a_purse(0.05)))

    assert held(world) == 0.0


def test_calls_under_way_that_will_cost_less_are_waited_for() -> None:
    world, purse = World(scripted(dear=["yes"])), a_purse(0.015)
    other = world.budgets.reserve(purse.accounts(DEAR), 0.01, 3600.0)
    assert isinstance(other, Reserved)
    world.on_pause = lambda: world.budgets.settle(other, 0.002) if world.now > 1 else None

    asked(world, a_tier(DEAR), Trail(purse=purse))

    # Each time longer.
    assert world.pauses == pytest.approx([0.1, 0.2, 0.4, 0.8])
    assert world.asked == ["dear"]


def test_they_are_waited_for_only_as_long_as_the_tier_waits() -> None:
    world, purse = World(scripted(dear=["never"])), a_purse(0.015)
    world.budgets.reserve(purse.accounts(DEAR), 0.01, 3600.0)

    with pytest.raises(BudgetExhaustedError, match=r"\$0.01 set aside for calls under way"):
        asked(world, a_tier(DEAR, max_wait_s=5.0), Trail(purse=purse))

    assert sum(world.pauses) == pytest.approx(5.0)


def test_nor_are_they_waited_for_beyond_the_deadline() -> None:
    world, purse = World(scripted(dear=["never"])), a_purse(0.015)
    world.budgets.reserve(purse.accounts(DEAR), 0.01, 3600.0)
    trail = Trail(purse=purse, left_s=lambda: 1.0 - world.now)

    with pytest.raises(BudgetExhaustedError):
        asked(world, a_tier(DEAR), trail)

    # Nor up to it: then nobody could be asked any more.
    assert world.now == pytest.approx(0.7)


def test_money_that_is_spent_is_not_waited_for() -> None:
    world, purse = World(scripted(dear=["never"])), a_purse(0.015)
    other = world.budgets.reserve(purse.accounts(DEAR), 0.01, 3600.0)
    assert isinstance(other, Reserved)
    world.budgets.settle(other, 0.01)

    with pytest.raises(BudgetExhaustedError):
        asked(world, a_tier(DEAR), Trail(purse=purse))

    assert world.pauses == []


def test_a_model_without_a_price_is_refused() -> None:
    with pytest.raises(ConfigError, match="input_usd_per_mtok"):
        asked(World(scripted(x=["?"])), a_tier(a_deployment("x")), Trail(purse=a_purse(1.0)))


def driven(purse: Purse, tier: NamedTier, refuse: set[str] | None = None) -> tuple[Any, Any, Any]:
    """Carry out a plan up to its first call. Return the plan, the call and what was set aside."""
    plan = failover(tier, a_request(), Trail(purse=purse))
    assert isinstance(next(plan), Rank)
    standings = tuple(Standing(each, 0.0, p95_s=1.0) for each in tier.tier.deployments)
    effect: Any = plan.send(standings)
    kept: list[Reserved] = []
    while isinstance(effect, Reserve):
        if len(kept) >= 1 and refuse:
            effect = plan.send(Short(effect.accounts[0], 1.0, 0.0, effect.usd))
            continue
        kept.append(Reserved(effect.accounts, effect.usd, str(len(kept))))
        effect = plan.send(kept[-1])
    return plan, effect, kept


def settled(plan: Any, effect: Any) -> list[tuple[str, float]]:
    """Carry out a plan's settling to its end. Return what was settled."""
    found: list[tuple[str, float]] = []
    try:
        while isinstance(effect, Settle):
            found.append((effect.reserved.id, effect.usd))
            effect = plan.send(None)
    except (StopIteration, CancelledError, AttemptError):
        pass
    return found


def test_both_calls_of_a_race_are_set_aside_and_both_are_settled() -> None:
    plan, hedge, kept = driven(a_purse(1.0), a_tier(DEAR, CHEAP, hedge=True))
    assert isinstance(hedge, Hedge)
    assert [each.usd for each in kept] == pytest.approx([0.01, 0.001])

    reply = Reply("yes", "fast", "openai/cheap", "cheap", Usage(10, 200), 0.0002, 1.0)
    effect = plan.send(Raced(reply, cancelled=(hedge.first,)))

    # The loser is taken for what the winner used, at its own price.
    assert settled(plan, effect) == [("0", pytest.approx(0.002)), ("1", 0.0002)]


def test_a_hedge_that_no_budget_pays_for_is_not_made() -> None:
    _, effect, kept = driven(a_purse(1.0), a_tier(DEAR, CHEAP, hedge=True), refuse={"cheap"})

    assert isinstance(effect, Ask)
    assert len(kept) == 1


def test_a_call_that_is_cancelled_is_settled_at_what_had_arrived() -> None:
    plan, ask, _ = driven(a_purse(1.0), a_tier(DEAR))
    ask.meter.clock, ask.meter.started = lambda: 1.0, 0.0

    effect = plan.throw(CancelledError())

    assert settled(plan, effect) == [("0", 0.0)]


def test_the_time_a_lease_lasts_covers_waits_and_the_call() -> None:
    plan = failover(
        a_tier(DEAR, timeout_s=20.0, max_wait_s=10.0), a_request(), Trail(purse=a_purse(1.0))
    )
    next(plan)
    wanted = plan.send((Standing(DEAR, 0.0, limit_s=100.0),))

    assert isinstance(wanted, Reserve)
    assert wanted.lease_s >= 100 + 10 + 2 * 20
    assert not isinstance(wanted, Pause)
