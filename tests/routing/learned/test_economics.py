"""Whether a cascade pays: what it would save, and why not."""

import numpy as np
import pytest

from tierflow.routing.learned import Worth, refuse, weigh

SCORES = np.linspace(0, 1, 1000)
USD = np.ones(1000)


def losses(*, weak_only: float, strong_only: float, sorted_: bool = True) -> np.ndarray:
    """The strong model alone is right where scores are low, the weak one alone where high."""
    found = np.zeros(1000)
    found[: round(1000 * strong_only)] = 1
    found[1000 - round(1000 * weak_only) :] = -1
    return found if sorted_ else np.random.default_rng(0).permutation(found)


def worth_of(lost: np.ndarray, ratio: float = 20) -> Worth:
    return weigh(SCORES, lost, USD, ratio * USD)


def test_a_cheap_tier_with_a_good_scorer_is_worth_it() -> None:
    found = worth_of(losses(weak_only=0.1, strong_only=0.3))
    assert refuse(found, weak="small", strong="large") is None
    assert found.price_ratio == pytest.approx(20)
    assert found.break_even == pytest.approx(0.75)
    assert found.saving == pytest.approx(found.accepted - 1 / 20)
    assert found.accepted == pytest.approx(0.8, abs=0.03)


def test_a_helper_is_charged_on_every_item() -> None:
    lost = losses(weak_only=0.1, strong_only=0.3)
    alone = weigh(SCORES, lost, USD, 20 * USD)
    helped = weigh(SCORES, lost, USD, 20 * USD, helper_cost=USD)
    assert alone.saving - helped.saving == pytest.approx(1 / 20)


@pytest.mark.parametrize(
    ("lost", "ratio", "reason"),
    [
        (losses(weak_only=0.1, strong_only=0.3), 4.7, "only 4.7 times"),
        (losses(weak_only=0.2, strong_only=0.1), 20, "small alone is as good as large"),
        (losses(weak_only=0.05, strong_only=0.3, sorted_=False), 20, "r* = 0.86"),
    ],
)
def test_a_cascade_that_cannot_pay_is_refused_with_its_numbers(
    lost: np.ndarray, ratio: float, reason: str
) -> None:
    found = refuse(worth_of(lost, ratio), weak="small", strong="large")
    assert found is not None
    assert reason in found.reason
    assert "large" in found.reason


def test_models_that_never_differ_have_no_break_even_to_compute() -> None:
    assert worth_of(np.zeros(1000)).break_even == 0.5
