"""The bootstrap: its bounds hold as often as they say, with few pairs and skewed noise."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.serving.validation.comparison import LEAST_PAIRS, speedup


def test_few_pairs_prove_nothing() -> None:
    assert speedup([2.0] * (LEAST_PAIRS - 1), 0.95, 0) is None


def test_equal_ratios_have_no_width() -> None:
    found = speedup([1.5] * 8, 0.95, 0)
    assert found is not None
    assert found.low == pytest.approx(1.5) == found.high


@given(st.lists(st.floats(0.1, 10), min_size=LEAST_PAIRS, max_size=30), st.integers(0, 9))
def test_the_estimate_is_the_geometric_mean_and_seeds_repeat(
    ratios: list[float], seed: int
) -> None:
    found = speedup(ratios, 0.95, seed)
    assert found is not None
    mean = math.exp(math.fsum(math.log(ratio) for ratio in ratios) / len(ratios))
    assert found.estimate == pytest.approx(mean)
    assert found == speedup(ratios, 0.95, seed)


@pytest.mark.parametrize("pairs", [8, 12, 24])
@pytest.mark.parametrize("tail", ["even", "skewed"])
def test_the_lower_bound_is_below_the_truth_as_often_as_it_says(pairs: int, tail: str) -> None:
    drawn, above, runs = random.Random(pairs), 0, 300
    for run in range(runs):
        # Skewed: a colleague's job slows one pair in ten, either way, to a third.
        ratios = [
            1.2 * drawn.lognormvariate(0, 0.1) * (_hit(drawn) if tail == "skewed" else 1.0)
            for _ in range(pairs)
        ]
        found = speedup(ratios, 0.95, run)
        assert found is not None
        above += found.low > 1.2
    # 5 % of 300 are 15; 27 or more of them would be rarer than one in a thousand.
    assert above <= 27


def _hit(drawn: random.Random) -> float:
    return drawn.choice((1 / 3, 3.0)) if drawn.random() < 0.1 else 1.0


def test_a_ratio_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        speedup([1.0] * 6 + [0.0], 0.95, 0)
    with pytest.raises(ValueError, match=r"confidence is 0\.4"):
        speedup([1.0] * 6, 0.4, 0)
