"""Evidence: wealth grows only where the mean loss is below what was promised."""

from math import exp, log
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tierflow.routing.learned.evidence import log_wealth, needed_log_wealth

Floats = NDArray[np.float64]

LOSSES = st.lists(st.floats(-1, 1), min_size=1, max_size=60).map(np.array)
PROMISES = st.floats(0.005, 0.5)


@given(LOSSES, PROMISES, st.randoms(use_true_random=False))
def test_the_order_of_losses_makes_no_difference(
    losses: Floats, max_loss: float, random: Random
) -> None:
    mixed = np.array(random.sample(list(losses), len(losses)))
    assert log_wealth(mixed, max_loss) == pytest.approx(log_wealth(losses, max_loss))


@given(LOSSES, PROMISES, st.integers(0, 59))
def test_a_larger_loss_is_never_better_evidence(losses: Floats, max_loss: float, at: int) -> None:
    worse = losses.copy()
    worse[at % len(losses)] = 1.0
    assert log_wealth(worse, max_loss) <= log_wealth(losses, max_loss) + 1e-9


@given(PROMISES, st.floats(0.01, 1))
def test_no_bettor_gains_on_average_where_the_promise_just_fails(
    max_loss: float, rate: float
) -> None:
    # One item: the expected wealth is a sum over its three losses.
    rate = max(rate, max_loss)
    chances = {1.0: (rate + max_loss) / 2, -1.0: (rate - max_loss) / 2, 0.0: 1 - rate}
    mean = sum(p * exp(log_wealth(np.array([loss]), max_loss)) for loss, p in chances.items())
    assert mean == pytest.approx(1)


def test_a_loss_outside_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"not in \[-1, 1\]"):
        log_wealth(np.array([0.0, 1.5]), 0.01)


@pytest.mark.parametrize(("count", "max_loss"), [(200, 0.05), (1000, 0.02)])
@pytest.mark.parametrize("rate", [0.06, 0.2, 0.7])
def test_the_exact_bound_is_passed_by_chance_as_rarely_as_it_says(
    count: int, max_loss: float, rate: float
) -> None:
    needed = needed_log_wealth(count, max_loss, 0.05, exact=True)
    random = np.random.default_rng(7)
    chances = [(rate - max_loss) / 2, 1 - rate, (rate + max_loss) / 2]
    runs = 4000
    counts = random.multinomial(count, chances, runs)
    passed = sum(
        log_wealth(np.repeat([-1.0, 0.0, 1.0], each), max_loss) >= needed for each in counts
    )
    # Three standard errors of a share of 0.05.
    assert passed / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5


@settings(max_examples=8, deadline=None)
@given(st.integers(20, 300), st.floats(0.02, 0.3), st.sampled_from([0.01, 0.05, 0.1]))
def test_the_exact_bound_asks_for_no_more_than_markovs(
    count: int, max_loss: float, error: float
) -> None:
    exact = needed_log_wealth(count, max_loss, error, exact=True)
    assert 0 < exact <= needed_log_wealth(count, max_loss, error, exact=False)


def test_markovs_bound_is_taken_where_the_exact_one_is_not_asked_for_or_too_far() -> None:
    assert needed_log_wealth(100, 0.01, 0.05, exact=False) == pytest.approx(log(20))
    assert needed_log_wealth(50_000, 0.01, 0.05, exact=True) == pytest.approx(log(20))
