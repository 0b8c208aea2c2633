"""Events: what an automation may want to know of a run that has ended, one a step and kind."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..ledger import Row
from .run import Run, failed_over
from .troubles import escalations_of, failed_calls_of

_MOST_REASONS = 5


@dataclass(frozen=True, slots=True)
class RunEvent:
    """An event at a run's end. `kind`, `about`: see `tracing.notices`. `payload`: without texts."""

    kind: str
    about: str
    payload: Mapping[str, Any]


def events_of(run: Run) -> list[RunEvent]:
    """Return the events of a run: a run of ten thousand escalations has one for each step."""
    by_step: dict[str, list[Row]] = {}
    for row in run.rows:
        by_step.setdefault(row.step, []).append(row)
    return [event for step, rows in by_step.items() for event in _of_step(step, rows, run)]


def _of_step(step: str, rows: Sequence[Row], run: Run) -> Iterator[RunEvent]:
    if escalated := sum(row.escalations > 0 for row in rows):
        reasons = [
            {"why": each.why, "count": each.count}
            for each in escalations_of(run)
            if each.step == step
        ]
        yield _event("escalated", step, escalated, rows, reasons)
    if over := sum(failed_over(row) for row in rows):
        reasons = [
            {"why": f"{each.deployment}: {each.error}", "count": each.count}
            for each in failed_calls_of(run)
            if each.step == step and each.answered
        ]
        yield _event("failed-over", step, over, rows, reasons)


_SAID = {
    "escalated": "{count:,} of {answers:,} answers escalated",
    "failed-over": "{count:,} of {answers:,} answers came after a deployment had failed",
}


def _event(
    kind: str, step: str, count: int, rows: Sequence[Row], reasons: list[dict[str, Any]]
) -> RunEvent:
    payload = {
        "message": _SAID[kind].format(count=count, answers=len(rows)),
        "step": step,
        "count": count,
        "answers": len(rows),
        "share": round(count / len(rows), 4),
        "reasons": reasons[:_MOST_REASONS],
    }
    return RunEvent(kind, step, payload)
