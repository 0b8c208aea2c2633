"""Waterfall: bars lie where the ledger says, inside the axis, and never on each other."""

import math
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given

from tierflow.tracing.run_report import Run
from tierflow.tracing.run_report.kinds import kind_of
from tierflow.tracing.run_report.waterfall import BINS, Line, bands_of, bin_s, lines_of

from .runs import call, row, run, runs


def test_a_line_has_the_calls_of_its_step_in_seconds_since_the_run_began() -> None:
    found = run(
        [row("one", 0, 2, step="classify"), row("two", 1, 4, step="draft")],
        [
            call("one", 0.5, 1, tier="fast"),
            call("one", 1, 2, tier="frontier"),
            call("two", 1.5, 2, outcome="ProviderDownError"),
            call("two", 2, 4, role="judge"),
        ],
    )

    first, second = lines_of(found)

    assert (first.row.step, first.begin_s, first.end_s, first.lanes) == ("classify", 0, 2, 1)
    assert [(bar.kind, bar.begin_s, bar.end_s) for bar in first.bars] == [
        ("fast", 0.5, 1),
        ("frontier", 1, 2),
    ]
    assert [bar.kind for bar in second.bars] == ["failed", "judge"]
    assert found.span_s == 4


def test_lines_stand_in_the_order_in_which_steps_began_not_ended() -> None:
    late, early = row("late", 3, 4, step="late"), row("early", 0, 9, step="early")

    assert [line.row.step for line in lines_of(run([late, early]))] == ["early", "late"]


def test_calls_at_the_same_time_lie_in_lanes_of_their_own() -> None:
    raced = [call("one", 0, 3), call("one", 1, 2), call("one", 2.5, 3)]

    (line,) = lines_of(run([row("one", 0, 3)], raced))

    assert [bar.lane for bar in line.bars] == [0, 1, 1]
    assert line.lanes == 2


def test_calls_one_after_the_other_share_a_lane_in_spite_of_rounding() -> None:
    (line,) = lines_of(
        run([row("one", 0, 2)], [call("one", 0, 1.0009), call("one", 1, 2)]),
    )

    assert line.lanes == 1
    assert line.bars[1].begin_s == pytest.approx(1.0009)


@given(runs())
def test_bars_lie_inside_the_axis_and_never_on_each_other(found: Run) -> None:
    lines = lines_of(found)

    assert len(lines) == len(found.rows)
    for line in lines:
        assert -1e-6 <= line.begin_s <= line.end_s <= found.span_s + 1e-6
        assert all(-1e-6 <= bar.begin_s <= bar.end_s <= found.span_s + 0.002 for bar in line.bars)
        assert not overlapping(line)
        assert Counter(bar.kind for bar in line.bars) == Counter(
            kind_of(each) for each in found.calls.get(line.row.ref, ())
        )
        assert {bar.lane for bar in line.bars} | {0} == set(range(line.lanes))


def overlapping(line: Line) -> bool:
    inside = sorted(line.bars, key=lambda bar: (bar.lane, bar.begin_s, bar.end_s))
    return any(one.lane == two.lane and two.begin_s < one.end_s for one, two in pairwise(inside))


@given(runs())
def test_bands_hold_all_time_that_the_ledger_has(found: Run) -> None:
    bands, length_s = bands_of(found), bin_s(found)

    for band in bands:
        rows = [row for row in found.rows if row.step == band.name]
        calls = [each for row in rows for each in found.calls.get(row.ref, ())]
        assert band.answers == len(rows)
        assert sum(band.hits) == sum(row.cache in {"exact", "semantic"} for row in rows)
        failed = [row for row in rows if row.outcome != "ok"]
        failed_calls = [each for each in calls if each.outcome != "ok"]
        assert sum(band.failures) == len(failed) + len(failed_calls)
        spent_s = length_s * math.fsum(band.steps)
        assert spent_s == pytest.approx(sum(row.latency_ms for row in rows) / 1000, abs=1e-4)
        assert band.calls.keys() == {kind_of(each) for each in calls}
        for kind, under_way in band.calls.items():
            took_s = sum(each.latency_ms for each in calls if kind_of(each) == kind) / 1000
            assert length_s * math.fsum(under_way) == pytest.approx(took_s, abs=1e-4)
            assert len(under_way) == BINS
            assert min(under_way) >= -1e-9
    assert sum(band.answers for band in bands) == len(found.rows)


def test_a_band_says_how_many_were_under_way_at_a_time() -> None:
    rows = [row(f"{number}", 0, 60) for number in range(5)] + [row("late", 60, 120)]

    (band,) = bands_of(run(rows, [call("late", 60, 120)]))

    assert band.steps[:60] == pytest.approx([5.0] * 60)
    assert band.steps[60:] == pytest.approx([1.0] * 60)
    assert band.calls["fast"][:60] == [0.0] * 60
    assert band.most == pytest.approx(5)


def test_the_smallest_of_very_many_names_share_a_band() -> None:
    rows = [row(f"{n} {m}", m, m + 1, step=f"step {n}") for n in range(30) for m in range(n + 1)]

    bands = bands_of(run(rows))

    assert [band.name for band in bands] == [
        *(f"step {n}" for n in range(19, 30)),
        "19 other steps",
    ]
    assert sum(band.answers for band in bands) == len(rows)


def test_a_run_that_took_no_time_has_a_place_for_all_of_it() -> None:
    (band,) = bands_of(run([row("one", 0, 0, cache="exact"), row("two", 0, 0)]))

    assert (sum(band.hits), band.answers, band.most) == (1, 2, 0)
