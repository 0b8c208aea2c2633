"""Sequential: the bounds of a few planned looks before a known horizon."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.rollouts.evidence.sequential import bounds, spent


@pytest.mark.parametrize(
    ("fractions", "wanted"),
    [
        # As the R packages ldbounds and gsDesign have them for this spending function.
        ([0.2, 0.4, 0.6, 0.8, 1.0], [4.8769, 3.3569, 2.6803, 2.2898, 2.0310]),
        ([0.5, 1.0], [2.9626, 1.9686]),
        ([1.0], [1.9600]),
    ],
)
def test_the_bounds_are_the_published_ones(fractions: list[float], wanted: list[float]) -> None:
    assert bounds(fractions, 0.05) == pytest.approx(wanted, abs=2e-4)


@given(st.floats(0.001, 0.2))
def test_all_is_spent_at_the_horizon_and_nothing_at_the_start(alpha: float) -> None:
    assert spent(0.0, alpha) == 0.0
    assert spent(1.0, alpha) == pytest.approx(alpha)
    assert 0 <= spent(0.3, alpha) <= spent(0.6, alpha) <= alpha


def test_equal_arms_cross_a_bound_as_often_as_is_allowed() -> None:
    fractions = np.array([0.3, 0.45, 0.8, 1.0])
    limits = np.array(bounds(list(fractions), 0.1))
    steps = np.random.default_rng(3).normal(size=(40_000, 4))
    paths = np.cumsum(steps * np.sqrt(np.diff(fractions, prepend=0)), axis=1)
    crossed = (np.abs(paths / np.sqrt(fractions)) >= limits).any(axis=1).mean()
    # Four standard deviations of the simulation.
    assert crossed == pytest.approx(0.1, abs=0.006)


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=6, unique=True).map(sorted))
def test_bounds_are_above_those_of_one_look(fractions: list[float]) -> None:
    found = bounds(fractions, 0.05)
    assert len(found) == len(fractions)
    assert all(each >= 1.9599 for each in found)


@pytest.mark.parametrize("fractions", [[0.5, 0.5], [0.5, 0.2], [0.0, 1.0], [0.5, 1.1]])
def test_what_are_no_looks_is_refused(fractions: list[float]) -> None:
    with pytest.raises(ValueError, match="are no looks"):
        bounds(fractions, 0.05)
