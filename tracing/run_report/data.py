"""Data: a report's figures for programs, as JSON can hold them."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ..report import as_table, headline
from .contents import troubled
from .figures import StepFigures, figures_of
from .run import Run
from .troubles import escalations_of, failed_calls_of, failed_steps_of


def as_data(run: Run) -> Mapping[str, Any]:
    """Return what a report says of a run, and every step with its calls. Times in ms, costs USD."""
    steps, total = figures_of(run)
    return {
        "flow_run_id": run.flow_run_id,
        "flow": run.flow,
        "at": run.rows[0].at,
        "span_ms": round(1000 * run.span_s, 1),
        "headline": f"{headline(total.summary)} {troubled(total)}",
        "steps": [_step(each) for each in (*steps, total)],
        "escalations": [asdict(each) for each in escalations_of(run)],
        "failed_calls": [asdict(each) for each in failed_calls_of(run)],
        "failed_steps": [asdict(each) for each in failed_steps_of(run)],
        "answers": [
            {**asdict(row), "calls": [asdict(call) for call in run.calls.get(row.ref, ())]}
            for row in run.rows
        ],
    }


def _step(each: StepFigures) -> Mapping[str, Any]:
    (summary,) = as_table([each.summary])
    mean, scored = each.score or (None, 0)
    return {
        **summary,
        "costs": {kind: round(cost, 6) for kind, cost in each.costs.items()},
        "escalated": each.escalated,
        "failed_over": each.failed_over,
        "quality": mean,
        "scored": scored,
    }
