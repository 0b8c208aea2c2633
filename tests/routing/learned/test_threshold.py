"""Thresholds: proven on items that nobody learned from, or refused with the reason."""

from typing import TypedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tierflow.routing.learned import (
    Learned,
    Refusal,
    equal_quality_threshold,
    learn_threshold,
    plan_path,
)

Floats = NDArray[np.float64]


class Promise(TypedDict):
    max_loss: float
    confidence: float


SURE = Promise(max_loss=0.02, confidence=0.95)


def world(count: int, seed: int) -> tuple[Floats, Floats]:
    """Scores in [0, 1]; the lower, the more the strong reply alone is right."""
    random = np.random.default_rng(seed)
    scores = random.random(count)
    lost = random.random(count) < 0.3 * (1 - scores)
    won = ~lost & (random.random(count) < 0.1)
    return scores, lost.astype(float) - won


def test_a_threshold_is_proven_and_is_the_last_one_that_passed() -> None:
    scores, losses = world(3000, 0)
    path = plan_path(*world(3000, 1), max_loss=0.02)

    found = learn_threshold(scores, losses, **SURE, path=path)

    assert isinstance(found, Learned)
    assert found.threshold == path[found.tested - 1]
    assert found.loss < 0.02
    assert found.accepted == pytest.approx((scores >= found.threshold).mean())
    assert (found.items, found.max_loss, found.confidence) == (3000, 0.02, 0.95)


def test_markovs_bound_accepts_no_more_than_the_exact_one() -> None:
    scores, losses = world(2000, 0)
    path = plan_path(*world(2000, 1), max_loss=0.02)
    exact = learn_threshold(scores, losses, **SURE, path=path)
    markov = learn_threshold(scores, losses, **SURE, path=path, exact=False)
    assert isinstance(exact, Learned)
    assert isinstance(markov, Learned)
    assert markov.tested < exact.tested


def test_losses_between_right_and_wrong_are_proven_with_markovs_bound() -> None:
    scores, losses = world(3000, 0)
    path = plan_path(scores, losses, max_loss=0.05)
    graded = learn_threshold(scores, losses / 2, max_loss=0.05, confidence=0.95, path=path)
    markov = learn_threshold(
        scores, losses / 2, max_loss=0.05, confidence=0.95, path=path, exact=False
    )
    assert graded == markov
    assert isinstance(graded, Learned)


def test_too_few_items_are_refused_with_numbers() -> None:
    scores, losses = world(40, 0)
    found = learn_threshold(scores, losses, **SURE, path=[0.0])
    assert isinstance(found, Refusal)
    assert "100% of 40 items" in found.reason
    assert "2.00%" in found.reason
    assert "95%" in found.reason


@pytest.mark.parametrize("path", [[], [0.5]])
def test_nothing_to_learn_from_is_refused(path: list[float]) -> None:
    nothing = np.array([])
    found = learn_threshold(nothing, nothing, **SURE, path=path)
    assert isinstance(found, Refusal)
    assert "no calibration items" in found.reason


@pytest.mark.parametrize("promise", [(0.0, 0.95), (1.0, 0.95), (0.01, 0.0), (0.01, 1.0)])
def test_a_promise_that_is_none_is_an_error(promise: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        learn_threshold(
            np.ones(5), np.zeros(5), max_loss=promise[0], confidence=promise[1], path=[0.0]
        )


def test_a_promise_is_broken_as_rarely_as_it_says() -> None:
    population, truth = world(20_000, 1)
    path = plan_path(*world(3000, 2), max_loss=0.02)
    random = np.random.default_rng(3)
    broken = 0
    for _ in range(300):
        drawn = random.integers(0, len(population), 600)
        found = learn_threshold(population[drawn], truth[drawn], **SURE, path=path)
        if isinstance(found, Learned):
            broken += (truth * (population >= found.threshold)).mean() >= 0.02
    # Three standard errors of 0.05 over 300 runs.
    assert broken / 300 <= 0.05 + 0.038


@given(st.integers(1, 400), st.integers(0, 9))
def test_a_path_goes_down_from_where_it_starts(count: int, seed: int) -> None:
    scores, losses = world(count, seed)
    path = plan_path(scores, losses, max_loss=0.02)
    assert path
    assert list(path) == sorted(path, reverse=True)
    assert set(path) <= set(scores)
    assert path[-1] == scores.min()


@settings(deadline=None)
@given(st.integers(1, 400), st.integers(0, 9))
def test_the_threshold_of_equal_quality_is_a_score_or_accepts_none(count: int, seed: int) -> None:
    scores, losses = world(count, seed)
    threshold = equal_quality_threshold(scores, losses)
    assert threshold == np.inf or threshold in scores


def test_the_threshold_of_equal_quality_accepts_all_or_none_of_what_is_always_one_way() -> None:
    scores = np.linspace(0, 1, 500)
    assert equal_quality_threshold(scores, np.full(500, -0.1)) == 0
    assert equal_quality_threshold(scores, np.full(500, 0.1)) == np.inf


def test_the_threshold_of_equal_quality_loses_next_to_nothing_on_other_items() -> None:
    threshold = equal_quality_threshold(*world(20_000, 0))
    scores, losses = world(20_000, 1)
    assert abs((losses * (scores >= threshold)).mean()) < 0.01
