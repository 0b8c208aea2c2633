"""Enrolment: which arm a call gets, by what its flow run was told and what has come since."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.rollouts import error_rate, quality
from tierflow.rollouts.enrolment import Footing, Pin, enrolment
from tierflow.rollouts.state import RolloutState
from tierflow.rollouts.verbs import abort, pause, promote, undo

from .observed import NOW, a_rollout, begun

ROLLOUT = a_rollout(steps=(10, 50, 100))
STATE = begun(ROLLOUT)


def arm(state: RolloutState, unit: str, pin: Pin | None = None, **options: Any) -> str:
    return enrolment(Footing(state, pin or Pin.of(state), unit, **options), unit).arm


UNITS = [f"run {number}" for number in range(2000)]


def test_a_run_keeps_what_it_was_told_while_the_weight_grows() -> None:
    pin, later = Pin.of(STATE), promote(ROLLOUT, STATE, "me", NOW)
    assert [arm(later, unit, pin) for unit in UNITS] == [arm(STATE, unit) for unit in UNITS]
    grown = [arm(later, unit) for unit in UNITS]
    assert grown.count("candidate") > 4 * [arm(STATE, unit) for unit in UNITS].count("candidate")


def test_what_was_pinned_is_overridden_by_a_roll_back() -> None:
    back = abort(ROLLOUT, STATE, "me", NOW, "no")
    assert back is not None
    assert {arm(back, unit, Pin.of(STATE)) for unit in UNITS} == {"baseline"}
    over = promote(ROLLOUT, STATE, "me", NOW, full=True)
    taken = undo(ROLLOUT, over, "me", NOW)
    assert {arm(taken, unit, Pin.of(over)) for unit in UNITS} == {"baseline"}


def test_a_candidate_that_is_switched_off_here_answers_nobody_and_shows_nothing() -> None:
    off = [enrolment(Footing(STATE, Pin.of(STATE), unit, is_off=True), unit) for unit in UNITS]
    assert {(each.arm, each.counts, each.shadow) for each in off} == {("baseline", False, None)}


@pytest.mark.parametrize(
    ("state", "counts"),
    [
        (STATE, True),
        (pause(ROLLOUT, STATE, "me", NOW, "lunch"), True),
        (promote(ROLLOUT, STATE, "me", NOW, full=True), False),
        (abort(ROLLOUT, STATE, "me", NOW, "no"), False),
    ],
    ids=["progressing", "paused", "healthy", "degraded"],
)
def test_only_what_is_under_way_is_evidence(state: RolloutState, counts: bool) -> None:
    assert enrolment(Footing(state, Pin.of(state), "a"), "a").counts is counts


def test_in_the_shadow_the_baseline_answers_and_both_are_compared() -> None:
    rollout = a_rollout(
        steps=("shadow", 10), guardrails=(error_rate(), quality("helpful")), shadow_share=0.2
    )
    state = begun(rollout)
    found = enrolment(Footing(state, Pin.of(state), "a"), "a")
    assert found.arm == "baseline"
    assert found.shadow is not None
    assert (found.shadow.share, set(found.shadow.evaluations)) == (0.2, {"helpful"})
    assert (found.other.label, found.other.shadow) == ("triage-v2/candidate", None)
    assert enrolment(Footing(STATE, Pin.of(STATE), "a"), "a").shadow is None


@given(st.integers(0, 10**9), st.floats(0, 1))
def test_a_pin_is_read_as_it_was_written(epoch: int, weight: float) -> None:
    pin = Pin(epoch, weight)
    assert Pin.read(str(pin)) == pin


@pytest.mark.parametrize("text", ["", "3", "a:0.5", "3:half"])
def test_what_is_no_pin_is_none(text: str) -> None:
    assert Pin.read(text) is None
