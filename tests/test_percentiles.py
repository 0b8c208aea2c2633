"""Percentiles: by nearest rank, so that each is one of the values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.percentiles import percentile

values = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=50)
shares = st.floats(0, 1)


@given(values, shares)
def test_a_percentile_is_one_of_the_values_with_enough_at_or_below_it(
    numbers: list[float], share: float
) -> None:
    found = percentile(numbers, share)

    assert found in numbers
    assert sum(number <= found for number in numbers) >= share * len(numbers)
    assert sum(number < found for number in numbers) <= share * len(numbers)


@given(values, shares, shares)
def test_percentiles_rise_with_the_share(numbers: list[float], one: float, other: float) -> None:
    low, high = sorted((one, other))

    assert percentile(numbers, low) <= percentile(numbers, high)


@given(values)
def test_percentiles_run_from_least_to_most_in_any_order(numbers: list[float]) -> None:
    assert percentile(numbers, 0) == min(numbers)
    assert percentile(numbers, 1) == max(numbers)
    assert percentile(numbers[::-1], 0.5) == percentile(numbers, 0.5)


@pytest.mark.parametrize(
    ("share", "expected"), [(0, 1), (0.05, 1), (0.5, 10), (0.51, 11), (0.95, 19), (1, 20)]
)
def test_percentiles_go_by_nearest_rank(share: float, expected: int) -> None:
    assert percentile(range(1, 21), share) == expected
