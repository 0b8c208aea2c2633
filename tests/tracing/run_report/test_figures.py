"""Figures: what a report says of money and quality is what the ledger has."""

import math

import pytest
from hypothesis import given

from tierflow.tracing.run_report import Run
from tierflow.tracing.run_report.figures import figures_of
from tierflow.tracing.run_report.step_picture import MOST_STEPS, chosen

from .runs import call, row, run, runs


def test_a_steps_cost_is_told_by_what_its_calls_were_for() -> None:
    found = run(
        [row("one", 0, 1, cost_usd=0.37)],
        [
            call("one", 0, 1, cost_usd=0.01),
            call("one", 0, 1, cost_usd=0.05, role="repair"),
            call("one", 0, 1, cost_usd=0.01, role="judge"),
            call("one", 0, 1, cost_usd=0.3, tier="frontier"),
            call("one", 0, 1, cost_usd=0.0, outcome="ProviderDownError"),
        ],
    )

    ((step,), total) = figures_of(found)

    assert step.costs == pytest.approx(
        {"fast": 0.01, "frontier": 0.3, "repair": 0.05, "judge": 0.01}
    )
    assert list(step.costs) == ["fast", "frontier", "repair", "judge"]
    assert total.costs == pytest.approx(step.costs)


def test_what_a_row_cost_without_a_call_is_its_tiers() -> None:
    ((step,), _) = figures_of(run([row("one", 0, 1, cost_usd=0.5, tier="standard")]))

    assert step.costs == pytest.approx({"standard": 0.5})


def test_a_step_with_an_unpriced_call_is_not_told_half_its_cost() -> None:
    found = run(
        [row("one", 0, 1, cost_usd=None), row("two", 0, 1, cost_usd=0.2)],
        [
            call("one", 0, 1, cost_usd=None),
            call("one", 0, 1, cost_usd=0.4, role="judge"),
            call("two", 0, 1, cost_usd=0.2),
        ],
    )

    ((step,), _) = figures_of(found)

    assert step.costs == pytest.approx({"fast": 0.2})
    assert (step.summary.cost_usd, step.summary.unpriced) == (0.2, 1)


@given(runs())
def test_the_parts_are_the_ledgers_total(found: Run) -> None:
    steps, total = figures_of(found)

    for each in (*steps, total):
        assert math.isclose(sum(each.costs.values()), each.summary.cost_usd, abs_tol=1e-9)
    paid = math.fsum(row.cost_usd or 0.0 for row in found.rows)
    assert math.isclose(sum(total.costs.values()), paid, abs_tol=1e-9)
    assert total.escalated == sum(each.escalated for each in steps)
    assert total.failed_over == sum(each.failed_over for each in steps)


def test_only_answers_that_came_after_a_failure_failed_over() -> None:
    rows = [
        row("one", 0, 1, failed_attempts=2),
        row("two", 0, 1),
        row("three", 0, 1, failed_attempts=2, outcome="AllDeploymentsFailedError"),
    ]

    (_, total) = figures_of(run(rows))

    assert total.failed_over == 1


def test_quality_is_that_of_the_scored_steps_weighed_by_their_answers() -> None:
    rows = [row(step, 0, 1, step=step) for step in ("a", "b", "c")]

    steps, total = figures_of(run(rows, a=(0.5, 30), b=(1.0, 10)))

    assert [each.score for each in steps] == [(0.5, 30), (1.0, 10), None]
    assert total.score == pytest.approx((0.625, 40))


def test_without_scores_nothing_is_said_of_quality() -> None:
    steps, total = figures_of(run([row("one", 0, 1)]))

    assert [each.score for each in (*steps, total)] == [None, None]


def test_a_picture_of_very_many_steps_has_those_that_cost_most_in_their_order() -> None:
    rows = [row(f"{n}", 0, 1, step=f"{n}", cost_usd=n % 10) for n in range(40)]

    found = [each.summary for each in chosen(figures_of(run(rows))[0])]

    assert len(found) == MOST_STEPS
    assert {each.cost_usd for each in found} == {6, 7, 8, 9}
    assert [int(each.step) for each in found] == sorted(int(each.step) for each in found)
