import json
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.routing.learned import Recorded, Recordings
from tierflow.routing.supermodels import (
    Lesson,
    Reach,
    Reply,
    Run,
    State,
    Stop,
    Strategy,
    fit,
    replay,
    study,
)
from tierflow.routing.supermodels.linear import Bent, fit_bent, fit_logistic, fit_ridge

COSTS = {"small": 0.001, "middle": 0.004, "large": 0.02}


def recorded(count: int = 400, seed: int = 0) -> Recordings:
    """Sums that small gets wrong when hard, and says so; a poem that large alone can write."""
    random = np.random.default_rng(seed)
    hard = random.random(count) < 0.4
    poem = random.random(count) < 0.3
    rights = {
        "small": ~hard & ~poem & (random.random(count) < 0.95),
        "middle": ~poem & (random.random(count) < np.where(hard, 0.6, 0.95)),
        "large": random.random(count) < np.where(poem, 0.9, 0.85),
    }
    asks = [
        f"Write a poem about number {n}" if poem[n] else f"Add {n} and {7 * n}" + "!" * int(hard[n])
        for n in range(count)
    ]
    models = {
        name: Recorded(
            name,
            [
                "The answer is plain." if right[n] or random.random() < 0.3 else "However, it seems"
                for n in range(count)
            ],
            [str(8 * n) if right[n] else f"{name} {n}" for n in range(count)],
            right.astype(np.float64),
            np.full(count, COSTS[name]) * random.uniform(0.9, 1.1, count),
        )
        for name, right in rights.items()
    }
    return Recordings(asks, ["poem" if each else "sum" for each in poem], models)


@cache
def lesson() -> Lesson:
    return study(recorded())


def decided(strategy: Strategy, recordings: Recordings, row: int) -> tuple[Stop, State]:
    state = State(recordings.asks[row], recordings.strata[row])
    for _ in range(len(recordings.models) + 1):
        decision = strategy.next(state)
        if isinstance(decision, Stop):
            return decision, state
        said = recordings[decision.model]
        assert decision.model not in state.replies
        reply = Reply(said.texts[row], said.values[row])
        state = State(state.ask, state.stratum, {**state.replies, decision.model: reply})
    raise AssertionError("It never stops.")


@pytest.mark.parametrize("reach", [Reach.anything, Reach.one, Reach.prefixes])
@pytest.mark.parametrize("published", [False, True])
def test_deciding_one_by_one_is_the_replay(reach: type, published: bool) -> None:
    learned = lesson().published() if published else lesson()
    strategy = learned.strategy(reach(learned.order), budget_usd=0.012, trials=5)
    other = recorded(60, seed=1)

    outcome = replay(learned.tables_of(other), strategy.reach, strategy.prices)

    for row in range(len(other)):
        stop, state = decided(strategy, other, row)
        run = sum(1 << at for at, name in enumerate(strategy.models) if name in state.replies)
        assert run == outcome.run[row]
        assert stop.model in state.replies
        assert other[stop.model].quality[row] == outcome.quality[row]
        paid = sum(other[name].cost_usd[row] for name in state.replies)
        assert paid == pytest.approx(outcome.cost_usd[row])


def test_what_was_written_is_read_back_and_decides_the_same() -> None:
    strategy = fit(recorded(), budget_usd=0.01)
    other = recorded(30, seed=2)

    again = Strategy.from_json(strategy.to_json())

    assert again.to_json() == strategy.to_json()
    for row in range(len(other)):
        assert decided(again, other, row)[0].model == decided(strategy, other, row)[0].model


def test_the_published_supermodels_are_read_back_too() -> None:
    learned = lesson().published()
    strategy = learned.strategy(Reach.anything(learned.order), budget_usd=0.01)

    assert Strategy.from_json(strategy.to_json()).to_json() == strategy.to_json()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [({"version": 0}, "version 0"), ({"supermodels": {"kind": "x"}}, "kind 'x'")],
)
def test_another_version_or_kind_is_refused(change: dict[str, object], complaint: str) -> None:
    learned = lesson()
    written = json.loads(learned.strategy(Reach.one(learned.order), budget_usd=0.01).to_json())

    with pytest.raises(ValueError, match=complaint):
        Strategy.from_json(json.dumps(written | change))


@given(budget_usd=st.floats(0.002, 0.03))
def test_a_budget_is_kept_and_money_never_hurts(budget_usd: float) -> None:
    learned = lesson()
    reach = Reach.anything(learned.order)

    less = replay(
        learned.tables,
        reach,
        learned.strategy(reach, budget_usd=budget_usd, trials=0).prices,
    )
    more = replay(
        learned.tables,
        reach,
        learned.strategy(reach, budget_usd=2 * budget_usd, trials=0).prices,
    )

    assert less.cost_usd.mean() <= budget_usd * (1 + 1e-6)
    assert more.cost_usd.mean() >= less.cost_usd.mean() - 1e-9


def test_a_floor_is_reached_for_less_than_the_best_model_costs() -> None:
    learned = lesson()
    best = learned.tables.right.mean(axis=0).max()
    reach = Reach.anything(learned.order)

    strategy = learned.strategy(reach, min_quality=float(best))
    outcome = replay(learned.tables, reach, strategy.prices)

    assert outcome.quality.mean() >= best
    assert outcome.cost_usd.mean() < learned.tables.paid_usd[:, -1].mean()


def test_trials_never_lose_quality_or_the_budget() -> None:
    learned = lesson()
    reach = Reach.anything(learned.order)
    plain = learned.strategy(reach, budget_usd=0.01, trials=0)
    varied = learned.strategy(reach, budget_usd=0.01, trials=60)

    before = replay(learned.tables, reach, plain.prices)
    after = replay(learned.tables, reach, varied.prices)

    assert after.quality.mean() >= before.quality.mean()
    assert after.cost_usd.mean() <= 0.01 * (1 + 1e-6)


def test_routing_runs_one_model_and_a_cascade_runs_prefixes() -> None:
    learned = lesson()
    routed = learned.strategy(Reach.one(learned.order), budget_usd=0.01)
    cascaded = learned.strategy(Reach.prefixes(learned.order), budget_usd=0.01)

    one = replay(learned.tables, routed.reach, routed.prices)
    prefixes = replay(learned.tables, cascaded.reach, cascaded.prices)

    assert set(one.run.tolist()) <= {1, 2, 4}
    assert set(prefixes.run.tolist()) <= {1, 3, 7}


def test_a_goal_out_of_reach_says_what_can_be_had() -> None:
    learned = lesson()
    reach = Reach.anything(learned.order)

    with pytest.raises(ValueError, match="at best"):
        learned.strategy(reach, budget_usd=1e-6)
    with pytest.raises(ValueError, match="at best"):
        learned.strategy(reach, min_quality=1.0)
    with pytest.raises(ValueError, match="one of them"):
        learned.strategy(reach)


def test_too_few_items_and_too_few_models_are_refused() -> None:
    items = recorded()

    with pytest.raises(ValueError, match="99 items"):
        study(items.at(np.arange(99)))
    with pytest.raises(ValueError, match="2 to 6 models, not 1"):
        study(Recordings(items.asks, items.strata, {"small": items["small"]}))


def test_a_reply_of_an_unknown_model_is_refused() -> None:
    learned = lesson()
    strategy = learned.strategy(Reach.anything(learned.order), budget_usd=0.01)

    with pytest.raises(ValueError, match="No estimate was learned for other"):
        strategy.next(State("Add 1 and 2", "sum", {"other": Reply("3", "3")}))


def test_an_ask_of_an_unknown_kind_without_known_words_is_decided() -> None:
    learned = lesson()
    strategy = learned.strategy(Reach.anything(learned.order), budget_usd=0.01)

    assert isinstance(strategy.next(State("", "unheard of")), Run)


def test_a_poem_goes_past_the_models_that_cannot_write_one() -> None:
    learned = lesson()
    strategy = learned.strategy(Reach.anything(learned.order), min_quality=0.85)

    decision = strategy.next(State("Write a poem about number 3", "poem"))

    assert isinstance(decision, Run)
    assert decision.model == "large"
    assert decision.quality == pytest.approx(0.9, abs=0.1)


def test_leaving_an_item_out_is_fitting_without_it() -> None:
    random = np.random.default_rng(0)
    matrix = random.normal(size=(120, 3))
    target = (random.random(120) < 1 / (1 + np.exp(-matrix[:, 0]))).astype(np.float64)

    linear, ridge = fit_ridge(matrix, target[:, None], 5.0)
    _, logistic = fit_logistic(matrix, target, 5.0)

    rest = np.arange(120) != 7
    without, _ = fit_ridge(matrix[rest], target[rest, None], 5.0)
    weights, _ = fit_logistic(matrix[rest], target[rest], 5.0)
    chance = 1 / (1 + np.exp(-(matrix[7] @ weights[:-1] + weights[-1])))
    assert abs(ridge[7, 0] - without(matrix[7])[0]) < 0.01
    assert abs(ridge[7, 0] - without(matrix[7])[0]) < abs(ridge[7, 0] - linear(matrix[7])[0])
    assert abs(logistic[7] - chance) < 0.01


def test_a_line_bends_where_what_counts_lies_in_the_middle() -> None:
    random = np.random.default_rng(0)
    matrix = random.uniform(-1, 1, size=(400, 2))
    target = 1 - np.abs(matrix[:, :1])

    straight, _ = fit_ridge(matrix, target, 1.0)
    bent, unseen = fit_bent(matrix, target, 1.0)
    again = Bent.from_json(json.loads(json.dumps(bent.to_json())))

    missed = np.abs(bent(matrix) - target).mean()
    assert missed < 0.2 * np.abs(straight(matrix) - target).mean()
    assert missed < np.abs(unseen - target).mean()
    assert np.allclose(again(matrix), bent(matrix))
    assert again(matrix[0]) == pytest.approx(bent(matrix)[0])
