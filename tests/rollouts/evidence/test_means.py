"""Means: harm, no harm and intervals that hold at every time, for numbers of any kind."""

from math import inf, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.rollouts.evidence import (
    Sample,
    Stage,
    harm_of_means,
    interval_of_means,
    no_harm_of_means,
)

PROOF = log(20)


def drawn(means: tuple[float, float], count: int, seed: int, weight: float = 0.5) -> Stage:
    random = np.random.default_rng(seed)
    ours, theirs = (random.normal(mean, 0.25, count) for mean in means)
    return Stage(weight, Sample.of(ours), Sample.of(theirs))


def growing(means: tuple[float, float], seed: int) -> list[Stage]:
    """A stage as it is after each 50 units an arm, up to 2,000."""
    random = np.random.default_rng(seed)
    ours, theirs = (random.normal(mean, 0.25, 2000) for mean in means)
    return [
        Stage(0.5, Sample.of(ours[:count]), Sample.of(theirs[:count]))
        for count in range(50, 2001, 50)
    ]


def test_few_units_say_nothing() -> None:
    seen = [drawn((1.0, 0.0), 99, seed=1)]
    assert harm_of_means(seen, effect=0.05) == 0
    assert interval_of_means(seen, effect=0.05).high == inf


def test_equal_means_are_rarely_alarmed_however_often_one_looks() -> None:
    alarms = sum(
        any(harm_of_means([now], effect=0.05) >= PROOF for now in growing((0.2, 0.2), seed))
        for seed in range(200)
    )
    assert alarms <= 17  # 10 are expected at most; 18 come about once in 100 such tests


def test_a_greater_mean_is_harm_and_a_smaller_one_is_none() -> None:
    worse, better = drawn((0.25, 0.2), 3000, seed=2), drawn((0.2, 0.2), 3000, seed=3)
    assert harm_of_means([worse], effect=0.05) >= PROOF
    assert no_harm_of_means([better], allowed=0.03, effect=0.03) >= PROOF
    assert no_harm_of_means([worse], allowed=0.03, effect=0.03) < PROOF


def test_what_is_allowed_is_no_harm() -> None:
    seen = [drawn((0.25, 0.2), 3000, seed=2)]
    assert harm_of_means(seen, allowed=0.1, effect=0.05) < 0
    assert harm_of_means(seen, ratio=1.5, effect=0.05) < 0


def test_a_ratio_is_of_the_baselines_mean() -> None:
    seen = [drawn((1.5, 1.0), 1000, seed=4)]
    assert harm_of_means(seen, ratio=1.2, effect=0.1) >= PROOF
    assert no_harm_of_means(seen, ratio=1.8, effect=0.1) >= PROOF


def test_stages_are_not_pooled() -> None:
    early, late = drawn((0.1, 0.1), 2000, seed=5, weight=0.1), drawn((0.4, 0.4), 2000, seed=6)
    lopsided = Stage(0.1, Sample.of(np.full(200, 0.1)), early.baseline)
    assert harm_of_means([lopsided, late], effect=0.05) < PROOF


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_arms_in_which_nothing_ever_happens_prove_no_harm(share: float) -> None:
    alike = Sample.of([share] * 1000)
    seen = [Stage(0.5, alike, alike)]
    assert no_harm_of_means(seen, allowed=0.02, effect=0.02) >= PROOF
    assert harm_of_means(seen, effect=0.02) < 1


def test_the_interval_holds_at_every_time() -> None:
    missed = 0
    for seed in range(200):
        bounds = [interval_of_means([now], effect=0.05) for now in growing((0.3, 0.2), seed)]
        missed += any(not each.low <= 0.1 <= each.high for each in bounds)
    assert missed <= 17


@given(st.floats(-0.2, 0.2), st.integers(100, 500))
def test_the_interval_lies_around_the_difference(shift: float, count: int) -> None:
    seen = drawn((shift, 0.0), count, seed=7)
    found = interval_of_means([seen], effect=0.05)
    assert found.estimate == pytest.approx(seen.candidate.mean - seen.baseline.mean)
    assert found.low < found.estimate < found.high


def test_with_few_units_the_difference_is_told_without_bounds() -> None:
    seen = [drawn((1.0, 0.0), 40, seed=1)]
    found = interval_of_means(seen, effect=0.05)
    assert found.estimate == pytest.approx(seen[0].candidate.mean - seen[0].baseline.mean)
    assert (found.low, found.high, found.error) == (-inf, inf, inf)
