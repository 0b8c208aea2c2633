"""Learned routes: which way keeps a budget or a quality, and what is proven of it."""

from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow import Route
from tierflow.errors import StoreError
from tierflow.routing.learned import Refusal
from tierflow.routing.routes.learned import LearnedRoute, Offer
from tierflow.routing.routes.learning import learn_route
from tierflow.routing.routes.route import ReachName
from tierflow.routing.supermodels import Run, State, Strategy

from .recorded import BOUND_TO, COSTS, NOW, a_route, recorded

TO = ("standard", "frontier")
REACHES = get_args(ReachName)


def chosen(route: Route) -> Offer:
    found = a_route().choose(route)
    assert isinstance(found, Offer)
    return found


def first(strategy: Strategy, ask: str) -> str:
    decision = strategy.next(State(ask))
    assert isinstance(decision, Run)
    return decision.model


@pytest.mark.parametrize("reach", REACHES)
@given(budget=st.floats(0.0011, 0.03))
def test_a_budget_is_kept_by_both_kinds_of_items(reach: ReachName, budget: float) -> None:
    found = a_route().choose(Route(TO, budget_usd=budget, reach=reach))
    if isinstance(found, Offer):
        assert max(found.cost_usd, found.proved_usd) <= budget
        better = [each for each in a_route().of(reach) if each.likely_usd <= budget]
        assert found.quality == max(each.quality for each in better)


def test_more_money_buys_no_worse_answers() -> None:
    found = [chosen(Route(TO, budget_usd=usd)).quality for usd in (0.002, 0.005, 0.01, 0.02)]
    assert found == sorted(found)


def test_a_budget_below_the_cheapest_way_is_refused() -> None:
    found = a_route().choose(Route(TO, budget_usd=0.0001))
    assert isinstance(found, Refusal)
    assert "$0.001 at least" in found.reason


def test_easy_questions_go_to_the_cheap_tier_and_hard_ones_to_the_dear() -> None:
    strategy = a_route().taking(chosen(Route(TO, budget_usd=0.01, reach="routing")))
    assert COSTS[first(strategy, "Add 3 and 7")] < COSTS["frontier"]
    assert first(strategy, "Write a poem about 3") == "frontier"


@pytest.mark.parametrize("reach", REACHES)
def test_a_quality_is_taken_only_where_it_is_proven(reach: ReachName) -> None:
    found = chosen(Route(TO, min_quality=0.9, reach=reach))
    assert found.quality_lower(0.95) >= 0.9
    assert found.likely_usd < COSTS["frontier"]


def test_a_quality_that_no_way_proves_is_refused_with_its_numbers() -> None:
    found = a_route().choose(Route(TO, min_quality=0.99))
    assert isinstance(found, Refusal)
    assert "under the 0.99 asked for" in found.reason
    assert "of 200 items" in found.reason


def test_fewer_items_prove_less() -> None:
    few = a_route().offers[0]
    assert few.quality_lower(0.99) < few.quality_lower(0.95) < few.right / few.proved


def test_the_way_after_the_first_that_fails_is_not_taken() -> None:
    def offer(quality: float, right: int, usd: float) -> Offer:
        return Offer("routing", (1.0,), usd, quality, 100, right, usd, 1.0)

    kept = a_route()
    # The cheapest would pass by itself, but stands behind one that does not.
    offers = (offer(0.99, 99, 0.3), offer(0.98, 80, 0.2), offer(0.97, 99, 0.1))
    route = LearnedRoute("s", BOUND_TO, NOW, 100, kept.strategy, offers, kept.alone)
    found = route.choose(Route("frontier", min_quality=0.9, reach="routing"))
    assert found == offers[0]


def test_json_keeps_all_of_it() -> None:
    kept = LearnedRoute.from_json(a_route().to_json())
    assert (kept.offers, kept.alone, kept.bound_to, kept.at) == (
        a_route().offers,
        a_route().alone,
        BOUND_TO,
        NOW,
    )
    for offer in kept.offers:
        for ask in ("Add 3 and 7", "Write a poem about 3"):
            assert first(kept.taking(offer), ask) == first(a_route().taking(offer), ask)


@pytest.mark.parametrize("text", ["", "{}", '{"version": 2}', '{"version": 1}', "[]"])
def test_what_is_no_route_is_refused(text: str) -> None:
    with pytest.raises(StoreError, match="tierflow route learn"):
        LearnedRoute.from_json(text)


def test_costs_that_are_unknown_teach_nothing() -> None:
    items = recorded(200)
    items.models["fast"].cost_usd[3] = np.nan
    with pytest.raises(ValueError, match="input_usd_per_mtok"):
        learn_route("s", items, np.arange(200) < 120, BOUND_TO, at=NOW)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, "one of them"),
        ({"budget_usd": 1.0, "min_quality": 0.9}, "one of them"),
        ({"budget_usd": 0.0}, "buys nothing"),
        ({"min_quality": 1.0}, "between 0 and 1"),
        ({"min_quality": 0.9, "confidence": 0.0}, "between 0 and 1"),
        ({"budget_usd": 1.0, "reach": "all"}, "Known: 'cascade routing'"),
        ({"budget_usd": 1.0, "to": ()}, "names 0 tiers"),
        ({"budget_usd": 1.0, "to": tuple("abcdef")}, "names 6 tiers"),
    ],
)
def test_a_wish_that_makes_no_sense_is_refused(options: dict[str, Any], wanted: str) -> None:
    given: dict[str, Any] = {"to": "frontier", **options}
    with pytest.raises(ValueError, match=wanted):
        Route(**given)
