"""Pairs and mismatch: bets on scores of the same question, and on the sizes of both arms."""

from math import isfinite, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.rollouts.evidence import Pairs, Sample, Stage, mismatch
from tierflow.rollouts.evidence.mismatch import ALARM

PROOF = log(20)
scores = st.floats(0, 1)


def seen(drop: float, count: int, seed: int, margin: float = 0.03) -> list[Pairs]:
    """The test after each pair, harm and no harm at the highest so far."""
    random, pairs, found = np.random.default_rng(seed), Pairs(0.0, margin), list[Pairs]()
    for _ in range(count):
        baseline = float(random.uniform(0.2, 0.9))
        noise = float(random.uniform(-0.1, 0.1))
        pairs.add(min(max(baseline - drop + noise, 0.0), 1.0), baseline)
        found.append(Pairs(**{name: getattr(pairs, name) for name in Pairs.__slots__}))
    return found


def test_equal_scores_are_rarely_alarmed_however_often_one_looks() -> None:
    alarms = sum(max(each.harm for each in seen(0.0, 400, seed)) >= PROOF for seed in range(150))
    assert alarms <= 14


def test_a_drop_is_harm_and_is_never_taken_for_none() -> None:
    for seed in range(20):
        last = seen(0.05, 400, seed)[-1]
        assert last.harm >= PROOF
        assert last.no_harm < PROOF
        assert last.mean == pytest.approx(-0.05, abs=0.02)


def test_equal_scores_prove_no_harm_in_the_end() -> None:
    assert all(seen(0.0, 600, seed)[-1].no_harm >= PROOF for seed in range(20))


@given(st.lists(st.tuples(scores, scores), max_size=60), st.floats(0.01, 0.5))
def test_no_pair_costs_all_of_the_capital(given_: list[tuple[float, float]], margin: float) -> None:
    pairs = Pairs(margin / 2, margin)
    for candidate, baseline in given_:
        pairs.add(candidate, baseline)
        assert isfinite(pairs.harm)
        assert isfinite(pairs.no_harm)
    assert pairs.count == len(given_)


def sizes(weight: float, ours: int, theirs: int) -> Stage:
    return Stage(weight, Sample(ours), Sample(theirs))


def test_arms_of_the_right_size_raise_no_alarm_and_a_lost_fifth_does() -> None:
    random = np.random.default_rng(3)
    ours = int(random.binomial(20_000, 0.1))
    assert mismatch(sizes(0.1, ours, 20_000 - ours)) < 0
    assert mismatch(sizes(0.1, int(0.8 * ours), 20_000 - ours)) > ALARM


@pytest.mark.parametrize("weight", [0.05, 0.5])
def test_a_false_alarm_about_sizes_is_rare_however_often_one_looks(weight: float) -> None:
    alarms = 0
    for seed in range(300):
        taken = np.random.default_rng(seed).random(2000) < weight
        counts = np.cumsum(taken)[49::50]
        alarms += any(
            mismatch(sizes(weight, int(ours), 50 * at - int(ours))) >= ALARM
            for at, ours in enumerate(counts, 1)
        )
    assert alarms <= 10
