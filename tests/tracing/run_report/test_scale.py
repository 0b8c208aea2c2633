"""Scale: few ticks within the axis, and times that read well."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.tracing.run_report.scale import decades, shown_ms, time_ticks


@given(st.floats(1e-4, 1e7), st.integers(3, 10))
def test_ticks_are_few_even_and_inside_the_axis(span_s: float, most: int) -> None:
    ticks = time_ticks(span_s, most)

    assert 1 <= len(ticks) <= most
    assert ticks[0].at == 0
    assert ticks[-1].at <= span_s * (1 + 1e-6)
    steps = [two.at - one.at for one, two in pairwise(ticks)]
    assert all(step == pytest.approx(steps[0]) for step in steps)
    assert len({tick.label for tick in ticks}) == len(ticks)


@pytest.mark.parametrize(
    ("span_s", "labels"),
    [
        (0.9, ["0 ms", "200 ms", "400 ms", "600 ms", "800 ms"]),
        (11, ["0 s", "5 s", "10 s"]),
        (103, ["0 s", "50 s", "100 s"]),
        (1500, ["0 min", "5 min", "10 min", "15 min", "20 min", "25 min"]),
        (9000, ["0 h", "1 h", "2 h"]),
    ],
)
def test_ticks_are_at_round_times(span_s: float, labels: list[str]) -> None:
    assert [tick.label for tick in time_ticks(span_s)] == labels


@pytest.mark.parametrize(
    ("values", "ends"),
    [
        ([30, 4000], (10, 10_000)),
        ([100, 100], (100, 1000)),
        ([0, 0], (1, 10)),
        ([], (1, 10)),
        ([0.5, 2], (0.1, 10)),
    ],
)
def test_decades_hold_all_values(values: list[float], ends: tuple[float, float]) -> None:
    assert decades(values) == pytest.approx(ends)


@pytest.mark.parametrize(
    ("ms", "shown"),
    [
        (0.04, "0.0 ms"),
        (3.21, "3.2 ms"),
        (432.4, "432 ms"),
        (999.6, "1.00 s"),
        (1234, "1.23 s"),
        (12_345, "12.3 s"),
        (99_999, "1 min 40 s"),
        (3_725_000, "62 min 05 s"),
        (9_000_000, "2 h 30 min"),
    ],
)
def test_times_have_about_three_digits(ms: float, shown: str) -> None:
    assert shown_ms(ms) == shown
