"""Decisions: every way a gate is closed, each with its own reason and remedy."""

from dataclasses import replace
from typing import Any

import pytest

from tierflow.routing.gate import Binding, Closed, Hand, Open, State, calibrate, decide

from .labels import BOUND_TO, NOW, a_calibration, compared

DAY_S = 86_400.0
CALIBRATION = a_calibration()
CALM = State(CALIBRATION.id, audited=40, right=36)


def closed(*arguments: Any, **options: Any) -> Closed:
    found = decide(*arguments, **options)
    assert isinstance(found, Closed)
    assert found.reason.endswith(".")
    return found


def test_a_proven_judge_may_accept_from_its_threshold_on() -> None:
    for state in (None, CALM):
        found = decide(CALIBRATION, BOUND_TO, NOW + DAY_S, state=state)
        assert isinstance(found, Open)
        assert found.threshold == 0.7
        assert "95 of 100" in found.reason


def test_a_judge_without_calibration_may_not() -> None:
    found = closed(None, BOUND_TO, NOW)
    assert found.cause == "missing"
    assert "tierflow judge calibrate" in found.reason


@pytest.mark.parametrize(
    ("now_in_use", "named"),
    [
        ({"models": ("other", "strong")}, "another models than"),
        ({"models": ("strong", "cheap")}, "another models than"),
        ({"prompt": "p2"}, "another prompt than"),
        ({"judge": "j2"}, "another judge than"),
        ({"rubric": "r2", "prompt": "p2"}, "another prompt and rubric than"),
    ],
)
def test_a_calibration_of_something_else_closes(now_in_use: dict[str, Any], named: str) -> None:
    found = closed(CALIBRATION, BOUND_TO.model_copy(update=now_in_use), NOW)
    assert found.cause == "foreign"
    assert named in found.reason
    assert "tierflow judge calibrate" in found.reason


def test_every_part_of_a_binding_binds() -> None:
    for name in Binding.model_fields:
        other = BOUND_TO.model_copy(update={name: "something else"})
        assert other.differs(BOUND_TO) == (name,)
        assert isinstance(decide(CALIBRATION, other, NOW), Closed)


def test_an_old_calibration_closes() -> None:
    assert isinstance(decide(CALIBRATION, BOUND_TO, NOW + 7 * DAY_S, 7 * DAY_S), Open)
    found = closed(CALIBRATION, BOUND_TO, NOW + 8 * DAY_S, 7 * DAY_S)
    assert found.cause == "stale"
    assert "8.0 days old, over the 7 allowed" in found.reason


def test_a_calibration_from_the_future_closes_but_clocks_may_differ_a_little() -> None:
    assert isinstance(decide(CALIBRATION, BOUND_TO, NOW - 60), Open)
    assert closed(CALIBRATION, BOUND_TO, NOW - 3600).cause == "stale"
    assert closed(CALIBRATION, BOUND_TO, float("nan")).cause == "stale"


def test_drift_closes() -> None:
    found = closed(CALIBRATION, BOUND_TO, NOW, state=replace(CALM, alarmed_at=NOW))
    assert found.cause == "drift"
    assert "less than 80% of accepted answers right (36 of 40 were)" in found.reason


def test_audits_of_another_calibration_close_until_both_are_read_again() -> None:
    found = closed(CALIBRATION, BOUND_TO, NOW, state=replace(CALM, calibration="newer"))
    assert found.cause == "in doubt"


def test_a_hand_closes_before_all_else_and_taking_it_back_opens_only_what_is_proven() -> None:
    by_hand = Hand(closed=True, why="wrong labels", who="ada", at=NOW)
    shut = replace(CALM, hand=by_hand)
    for calibration in (CALIBRATION, None):
        found = closed(calibration, BOUND_TO, NOW, state=shut)
        assert found.cause == "by hand"
        assert "ada: wrong labels" in found.reason

    back = replace(shut, hand=replace(by_hand, closed=False))
    assert isinstance(decide(CALIBRATION, BOUND_TO, NOW, state=back), Open)
    assert closed(None, BOUND_TO, NOW, state=back).cause == "missing"
    assert closed(CALIBRATION, BOUND_TO, NOW, state=replace(back, alarmed_at=NOW)).cause == "drift"


def test_only_proven_strata_open() -> None:
    items = [*compared(95, 5, stratum="easy"), *compared(50, 50, stratum="hard")]
    both = calibrate("triage", items, BOUND_TO, at=NOW, threshold=0.7)

    assert isinstance(decide(both, BOUND_TO, NOW, stratum="easy"), Open)
    assert closed(both, BOUND_TO, NOW, stratum="hard").cause == "unproven"
    found = closed(both, BOUND_TO, NOW, stratum="new")
    assert found.cause == "unknown stratum"
    assert "'new'. Known: easy, hard" in found.reason
    # A question of unknown stratum may be a hard one.
    assert closed(both, BOUND_TO, NOW).cause == "unproven"


def test_a_question_of_unknown_stratum_passes_where_all_strata_open() -> None:
    items = [*compared(95, 5, stratum="a"), *compared(95, 5, stratum="b")]
    both = calibrate("triage", items, BOUND_TO, at=NOW, threshold=0.7)
    assert isinstance(decide(both, BOUND_TO, NOW), Open)
