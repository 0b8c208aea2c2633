"""Rates: shares and means of what was found, with the intervals that they are said to have."""

from typing import Any

import pytest

from tierflow.bounds import lower_share, mean_bounds, upper_share
from tierflow.tracing import Ended
from tierflow.tracing.evaluations import Measure, measures

from .evaluated import counted


def ended(**fields: Any) -> Ended:
    given: dict[str, Any] = {"step": "triage", "tier": "fast", "model": "a", "arm": ""}
    given |= {"count": 10, "ok": 10}
    return Ended(**(given | fields))


def by_name(found: list[Measure]) -> dict[str, Measure]:
    assert len({each.group for each in found}) == 1
    return {each.name: each for each in found}


def test_task_success_is_the_share_of_steps_that_ended_well() -> None:
    (success,) = measures([ended(ok=8), ended(model="b", ok=10)], [])
    assert success == Measure(
        group="triage",
        name="task success",
        kind="share",
        value=0.9,
        low=lower_share(18, 20, 0.975),
        high=upper_share(18, 20, 0.975),
        count=20,
    )


def test_what_is_asked_beside_answers_is_no_task() -> None:
    assert measures([ended(step="triage (evaluation)"), ended(step="triage (audit)")], []) == []


def test_safety_and_groundedness_are_the_rates_that_operators_ask_for() -> None:
    labelled = [
        counted(name="safety", label="pass", count=19, scored=19, total=19.0),
        counted(name="safety", label="fail", count=1, scored=1, total=0.0),
        counted(name="groundedness", label="grounded", count=6),
        counted(name="groundedness", label="hallucinated", count=2),
    ]
    found = by_name(measures([], labelled))
    assert found.keys() == {"safety compliance", "hallucination"}
    assert (found["safety compliance"].value, found["safety compliance"].count) == (0.95, 20)
    assert (found["hallucination"].value, found["hallucination"].count) == (0.25, 8)


def test_a_person_who_says_it_under_two_names_counts_once_in_satisfaction() -> None:
    said = [
        counted(name="satisfaction", source="human", count=1, scored=1, total=0.0, last=False),
        counted(name="helpful", source="human", count=1, scored=1, total=1.0),
    ]
    found = by_name(measures([], said))
    assert (found["satisfaction"].value, found["satisfaction"].count) == (1.0, 1)
    assert found["helpful"].count == 1


def test_without_a_hallucination_the_rate_is_none_of_all() -> None:
    (found,) = measures([], [counted(name="groundedness", label="grounded", count=8)])
    assert (found.name, found.value, found.count) == ("hallucination", 0.0, 8)
    assert found.high == upper_share(0, 8, 0.975)


def test_satisfaction_is_what_people_say_and_what_is_called_so() -> None:
    said = [
        counted(name="satisfaction", source="code", count=2, scored=2, total=1.0),
        counted(name="correct", source="human", count=2, scored=2, total=2.0),
    ]
    found = by_name(measures([], said))
    assert (found["satisfaction"].value, found["satisfaction"].count) == (0.75, 4)
    assert (found["correct"].value, found["correct"].count) == (1.0, 2)


def test_other_evaluations_have_a_mean_and_the_shares_of_their_labels() -> None:
    judged = [
        counted(label="good", count=3, scored=3, total=2.4),
        counted(label="bad", count=1, scored=1, total=0.0),
        counted(count=4, scored=4, total=2.0),
    ]
    found = by_name(measures([], judged))
    assert found.keys() == {"helpful", "helpful: good", "helpful: bad"}
    assert found["helpful"].value == pytest.approx(0.55)
    assert (found["helpful"].low, found["helpful"].high) == mean_bounds(
        found["helpful"].value, 8, 0.95
    )
    assert (found["helpful: good"].value, found["helpful: good"].count) == (0.75, 4)


def test_groups_are_by_what_is_asked_for_in_order_of_their_names() -> None:
    done = [ended(tier="fast", ok=9), ended(step="urgency", tier="fast"), ended(tier="best")]
    judged = [counted(tier="other", scored=10, total=5.0)]
    found = measures(done, judged, by="tier")
    assert [(each.group, each.name, each.count) for each in found] == [
        ("best", "task success", 10),
        ("fast", "task success", 20),
        ("other", "helpful", 10),
    ]
    assert [each.group for each in measures(done, judged)] == ["triage", "triage", "urgency"]


def test_a_sum_that_is_a_hair_too_large_is_a_mean_of_1() -> None:
    (found,) = measures([], [counted(count=3, scored=3, total=3.0000000000000004)])
    assert (found.value, found.high) == (1.0, 1.0)
