"""Bounds: exact where the count is fixed, valid at any time where it is not."""

from math import comb, isclose

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierflow.bounds import anytime_upper_share, lower_share, mean_bounds, upper_share

confidences = st.sampled_from([0.8, 0.9, 0.95, 0.9875, 0.999])


@st.composite
def counts(draw: st.DrawFn, most: int = 3000) -> tuple[int, int]:
    count = draw(st.integers(1, most))
    return draw(st.integers(0, count)), count


def at_least(good: int, count: int, share: float) -> float:
    return sum(
        comb(count, each) * share**each * (1 - share) ** (count - each)
        for each in range(good, count + 1)
    )


@given(counts(), confidences)
def test_the_bounds_are_those_of_the_beta_quantile(of: tuple[int, int], confidence: float) -> None:
    beta = pytest.importorskip("scipy.stats").beta
    good, count = of
    lower = float(beta.ppf(1 - confidence, good, count - good + 1)) if good else 0.0
    upper = float(beta.ppf(confidence, good + 1, count - good)) if good < count else 1.0

    assert isclose(lower_share(good, count, confidence), lower, abs_tol=1e-9)
    assert isclose(upper_share(good, count, confidence), upper, abs_tol=1e-9)


@pytest.mark.parametrize("good", [1, 500_000, 999_990])
def test_a_million_items_do_not_cost_exactness(good: int) -> None:
    beta = pytest.importorskip("scipy.stats").beta
    wanted = float(beta.ppf(0.05, good, 1_000_000 - good + 1))
    assert isclose(lower_share(good, 1_000_000, 0.95), wanted, rel_tol=1e-9)


@given(counts(60), confidences)
def test_at_the_bound_so_many_good_ones_are_as_rare_as_said(
    of: tuple[int, int], confidence: float
) -> None:
    good, count = of
    lower = lower_share(good, count, confidence)
    if good:
        assert isclose(at_least(good, count, lower), 1 - confidence, rel_tol=1e-9)
    else:
        assert lower == 0


@settings(max_examples=40)
@given(count=st.integers(1, 120), share=st.floats(0.001, 0.999), confidence=confidences)
def test_an_exact_bound_is_wrong_as_seldom_as_it_says(
    count: int, share: float, confidence: float
) -> None:
    wrong = sum(
        comb(count, good) * share**good * (1 - share) ** (count - good)
        for good in range(count + 1)
        if lower_share(good, count, confidence) > share
    )
    assert wrong <= 1 - confidence + 1e-12


@given(counts(), confidences)
def test_a_bound_lies_on_its_side_and_moves_with_what_is_seen(
    of: tuple[int, int], confidence: float
) -> None:
    good, count = of
    lower, upper = lower_share(good, count, confidence), upper_share(good, count, confidence)
    assert 0 <= lower <= good / count <= upper <= 1
    assert lower <= lower_share(good + 1, count + 1, confidence)
    assert lower_share(good, count + 1, confidence) <= lower


def test_nothing_seen_bounds_nothing() -> None:
    assert lower_share(0, 0, 0.95) == 0
    assert upper_share(0, 0, 0.95) == 1
    assert anytime_upper_share(0, 0, 0.95) == 1


@pytest.mark.parametrize(("good", "count"), [(-1, 3), (4, 3), (0, -1)])
def test_counts_that_cannot_be_are_refused(good: int, count: int) -> None:
    with pytest.raises(ValueError, match=f"{good} of {count} cannot be"):
        lower_share(good, count, 0.95)


@pytest.mark.parametrize("confidence", [0, 1, 95])
def test_a_confidence_that_is_no_probability_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        upper_share(1, 3, confidence)


@pytest.mark.parametrize(
    ("true", "labels"), [(0.95, 30), (0.90, 90), (0.88, 135), (0.85, 365), (0.82, 2420)]
)
def test_so_many_labels_show_that_a_judge_is_above_080(true: float, labels: int) -> None:
    """Four times in five at the true share, as the table of the design's notes has it."""
    binom = pytest.importorskip("scipy.stats").binom
    least = next(good for good in range(labels + 1) if lower_share(good, labels, 0.95) >= 0.8)
    assert binom.sf(least - 1, labels, true) == pytest.approx(0.8, abs=0.04)


# --- at any time


@settings(max_examples=40)
@given(
    count=st.integers(1, 250),
    share=st.floats(0.001, 0.9),
    confidence=st.sampled_from([0.8, 0.9, 0.95]),
)
def test_the_anytime_bound_lies_above_the_share_as_often_as_it_says(
    count: int, share: float, confidence: float
) -> None:
    missed = 0.0
    for bad in range(count + 1):
        if anytime_upper_share(bad, count, confidence) >= share:
            break
        missed += comb(count, bad) * share**bad * (1 - share) ** (count - bad)
    assert missed <= 1 - confidence


def test_the_anytime_bound_holds_however_often_one_looks() -> None:
    random, missed = np.random.default_rng(5), 0
    for _ in range(100):
        bad = np.cumsum(random.random(400) < 0.1)
        # Looked at where it is lowest: right before each error, and at the end.
        ends = [*np.flatnonzero(np.diff(bad)), 399]
        missed += any(anytime_upper_share(int(bad[end]), int(end) + 1, 0.9) < 0.1 for end in ends)
    # Of a hundred runs with probability 0.1 each, more are one chance in ten thousand.
    assert missed <= 22


@given(counts(500))
def test_the_anytime_bound_is_a_share_and_rises_with_the_errors(of: tuple[int, int]) -> None:
    bad, count = of
    bound = anytime_upper_share(bad, count, 0.95)
    assert upper_share(bad, count, 0.95) <= bound + 1e-9
    assert bad / count <= bound <= 1
    assert bound <= anytime_upper_share(bad + 1, count + 1, 0.95) + 1e-9
    assert anytime_upper_share(bad, count + 1, 0.95) <= bound + 1e-9


@given(st.floats(0, 1), st.integers(1, 10_000))
def test_bounds_of_a_mean_lie_on_both_sides_of_it_and_narrow_with_the_count(
    mean: float, count: int
) -> None:
    low, high = mean_bounds(mean, count, 0.95)
    assert 0 <= low <= mean <= high <= 1
    closer = mean_bounds(mean, 2 * count, 0.95)
    assert low <= closer[0] <= closer[1] <= high
    assert mean_bounds(1 - mean, count, 0.95) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.97])
def test_the_true_mean_of_coins_is_missed_no_more_often_than_said(share: float) -> None:
    count, confidence = 25, 0.9
    missed = 0.0
    for heads in range(count + 1):
        low, high = mean_bounds(heads / count, count, confidence)
        if not low <= share <= high:
            missed += comb(count, heads) * share**heads * (1 - share) ** (count - heads)
    assert missed <= 1 - confidence


def test_no_number_bounds_nothing_and_nonsense_is_refused() -> None:
    assert mean_bounds(0.5, 0, 0.95) == (0.0, 1.0)
    with pytest.raises(ValueError, match="go from 0 to 1"):
        mean_bounds(1.5, 3, 0.95)
    with pytest.raises(ValueError, match="confidence is 1"):
        mean_bounds(0.5, 3, 1)
