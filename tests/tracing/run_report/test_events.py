"""Events: one a step and kind, whatever the number of answers."""

from tierflow.tracing.run_report import RunEvent, events_of

from .runs import call, row, run


def test_ten_thousand_escalations_are_one_event_with_their_count() -> None:
    rows = [
        row(f"{n}", 0, 1, tier="frontier", escalations=1, passed_by=f"confidence: stated 0.{n:04}")
        for n in range(10_000)
    ]

    assert events_of(run([*rows, row("accepted", 0, 1)])) == [
        RunEvent(
            "escalated",
            "triage",
            {
                "message": "10,000 of 10,001 answers escalated",
                "step": "triage",
                "count": 10_000,
                "answers": 10_001,
                "share": 0.9999,
                "reasons": [{"why": "confidence: stated 0.0000 to 0.9999", "count": 10_000}],
            },
        )
    ]


def test_an_answer_after_a_failed_deployment_is_one_that_failed_over() -> None:
    rows = [
        row("one", 0, 1, failed_attempts=1),
        row("two", 0, 1, outcome="AllDeploymentsFailedError", failed_attempts=1),
        row("three", 0, 1, step="draft", outcome="RejectedError", failed_attempts=1),
    ]
    calls = [
        call("one", 0, 1, outcome="RateLimitedError"),
        call("one", 0, 1, deployment="openai/b"),
        call("two", 0, 1, outcome="ProviderDownError"),
        call("three", 0, 1, outcome="RejectedError"),
    ]

    (event,) = events_of(run(rows, calls))

    assert (event.kind, event.about) == ("failed-over", "triage")
    assert event.payload["message"] == "1 of 2 answers came after a deployment had failed"
    assert event.payload["reasons"] == [{"why": "openai/a: RateLimitedError", "count": 1}]


def test_each_step_has_events_of_its_own() -> None:
    rows = [
        row(
            f"{step} {n}", 0, 1, step=step, escalations=1, failed_attempts=1, passed_by=f"mine: {n}"
        )
        for step in ("triage", "draft")
        for n in "abcdefgh"
    ]

    found = events_of(run(rows))

    assert [(event.kind, event.about) for event in found] == [
        ("escalated", "triage"),
        ("failed-over", "triage"),
        ("escalated", "draft"),
        ("failed-over", "draft"),
    ]
    assert len(found[0].payload["reasons"]) == 5


def test_an_uneventful_run_has_none() -> None:
    assert events_of(run([row("one", 0, 1), row("two", 0, 1, cache="exact")])) == []
