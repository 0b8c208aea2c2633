"""Troubles: reasons are counted, not repeated, and none of them has an error's own words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.tracing.run_report.troubles import (
    Escalation,
    FailedCalls,
    FailedSteps,
    escalations_of,
    failed_calls_of,
    failed_steps_of,
    merged,
)

from .runs import call, row, run


def test_escalations_are_counted_by_step_and_reason_the_commonest_first() -> None:
    rows = [
        row("1", 0, 1, tier="frontier", escalations=1, passed_by="confidence: stated 0.42"),
        row("2", 0, 1, tier="frontier", escalations=1, passed_by="confidence: stated 0.17"),
        row(
            "3", 0, 1, tier="frontier", escalations=2, passed_by="reply: cut off: length\nmine: no"
        ),
        row("4", 0, 1, step="draft", tier="standard", escalations=1, passed_by="reply: cut off"),
        row("5", 0, 1),
    ]

    assert escalations_of(run(rows)) == [
        Escalation("triage", "frontier", "confidence: stated 0.17 to 0.42", 2),
        Escalation("triage", "frontier", "mine: no", 1),
        Escalation("triage", "frontier", "reply: cut off: length", 1),
        Escalation("draft", "standard", "reply: cut off", 1),
    ]


@pytest.mark.parametrize(
    ("reasons", "said"),
    [
        (["0 of 3 agree", "1 of 3 agree"], [("0 to 1 of 3 agree", 2)]),
        (["no", "no", "yes"], [("no", 2), ("yes", 1)]),
        (["scored 9", "scored 10"], [("scored 9 to 10", 2)]),
        (["x 1.0", "x 1"], [("x 1.0", 2)]),
        ([], []),
    ],
)
def test_reasons_that_differ_in_their_numbers_alone_are_one(
    reasons: list[str], said: list[tuple[str, int]]
) -> None:
    assert merged(reasons) == said


@given(st.lists(st.text(max_size=20)))
def test_no_reason_is_lost(reasons: list[str]) -> None:
    found = merged(reasons)

    assert sum(count for _, count in found) == len(reasons)
    assert len({why for why, _ in found}) <= len(set(reasons))


def test_failed_calls_are_counted_by_deployment_and_error_with_what_became_of_the_steps() -> None:
    rows = [row("1", 0, 1), row("2", 0, 1, outcome="AllDeploymentsFailedError"), row("3", 0, 1)]
    calls = [
        call("1", 0, 1, outcome="RateLimitedError"),
        call("1", 0, 1, outcome="RateLimitedError"),
        call("2", 0, 1, outcome="RateLimitedError"),
        call("2", 0, 1, outcome="ProviderDownError", deployment="openai/b"),
        call("3", 0, 1),
    ]

    assert failed_calls_of(run(rows, calls)) == [
        FailedCalls("triage", "openai/a", "RateLimitedError", count=3, steps=2, answered=1),
        FailedCalls("triage", "openai/b", "ProviderDownError", count=1, steps=1, answered=0),
    ]


def test_steps_without_an_answer_are_counted_by_error() -> None:
    outcomes = ["ok", "UnparseableReplyError", "RejectedError", "UnparseableReplyError"]
    rows = [row(f"{at}", 0, 1, outcome=outcome) for at, outcome in enumerate(outcomes)]

    assert failed_steps_of(run(rows)) == [
        FailedSteps("triage", "UnparseableReplyError", 2),
        FailedSteps("triage", "RejectedError", 1),
    ]
