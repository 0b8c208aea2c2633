"""Run: all that the ledger knows of one flow run, as the report's other files take it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from ...settings import settings
from ..evaluations import scores_of
from ..ledger import Call, Row
from ..opening import open_ledger

Scores: TypeAlias = Mapping[str, tuple[float, int]]
"""By step: the mean score of its answers, 0-1, and how many there are. Others were not scored."""

HITS = {"exact": "exact hit", "semantic": "similar hit"}
"""What a cache is called that answered a step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One flow run: its steps' rows, at least one, in the order in which they ended.

    `calls`: by the `ref` of the row that they belong to. `scores`: see Scores. `began`: Unix
    seconds, of the first row or call. `span_s`: from then to the end of the last.
    """

    flow_run_id: str
    flow: str
    rows: Sequence[Row]
    calls: Mapping[str, Sequence[Call]]
    scores: Scores
    began: float
    span_s: float


def read_run(flow_run_id: str) -> Run | None:
    """Return a flow run from the ledger that the settings in force name; None if it is not there.

    With the scores that evaluations gave its answers so far. Raises StoreError where one of both
    stores cannot be used.
    """
    with closing(open_ledger(settings())) as ledger:
        rows = ledger.of_flow_run(flow_run_id)
        calls = ledger.calls_of_flow_run(flow_run_id) if rows else ()
    return run_of(rows, calls, scores_of(flow_run_id)) if rows else None


def run_of(rows: Sequence[Row], calls: Sequence[Call], scores: Scores) -> Run:
    """Return the run of these rows, at least one, and their calls."""
    by_ref = defaultdict[str, list[Call]](list)
    for call in calls:
        by_ref[call.ref].append(call)
    both: list[Row | Call] = [*rows, *calls]
    spans = [span_of(each) for each in both]
    began = min(begin for begin, _ in spans)
    return Run(
        flow_run_id=rows[0].flow_run_id or "",
        flow=rows[0].flow or "",
        rows=rows,
        calls=by_ref,
        scores=scores,
        began=began,
        span_s=max(end for _, end in spans) - began,
    )


def span_of(each: Row | Call) -> tuple[float, float]:
    """Return when a step or a call began and ended, in Unix seconds."""
    begin = datetime.fromisoformat(each.at).timestamp()
    return begin, begin + max(0.0, each.latency_ms) / 1000


def is_hit(row: Row) -> bool:
    """Tell whether a cache answered."""
    return row.cache in HITS


def failed_over(row: Row) -> bool:
    """Tell whether a step has its answer although a deployment failed it."""
    return row.outcome == "ok" and row.failed_attempts > 0
