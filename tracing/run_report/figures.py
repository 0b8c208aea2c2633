"""Figures: what each step of a run cost, took, and was worth. Sums; draws nothing."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..ledger import Row
from ..report import StepSummary, summarise
from .kinds import KINDS, Kind, kind_of, kind_of_tier
from .run import Run, failed_over

_ROUNDING_USD = 1e-12


@dataclass(frozen=True, slots=True)
class StepFigures:
    """One step in numbers. `summary`: see StepSummary. `costs`: USD by what the calls were for.

    Together they are `summary.cost_usd`. `escalated`, `failed_over`: how many answers. `score`:
    mean, 0-1, and how many answers have one; None where none has.
    """

    summary: StepSummary
    costs: Mapping[Kind, float]
    escalated: int
    failed_over: int
    score: tuple[float, int] | None


def figures_of(run: Run) -> tuple[Sequence[StepFigures], StepFigures]:
    """Return the figures of each step in order of appearance, and those of the whole run."""
    *steps, total = summarise(run.rows)
    by_step = {each.step: [row for row in run.rows if row.step == each.step] for each in steps}
    found = [_figures(each, by_step[each.step], run, run.scores.get(each.step)) for each in steps]
    return found, _figures(total, run.rows, run, _mean(run.scores))


def _figures(
    summary: StepSummary, rows: Sequence[Row], run: Run, score: tuple[float, int] | None
) -> StepFigures:
    return StepFigures(
        summary=summary,
        costs=_costs(rows, run),
        escalated=sum(row.escalations > 0 for row in rows),
        failed_over=sum(failed_over(row) for row in rows),
        score=score,
    )


def _costs(rows: Sequence[Row], run: Run) -> dict[Kind, float]:
    found: dict[Kind, list[float]] = {}
    for row in rows:
        if row.cost_usd is None:
            continue  # as in the summary: what is known of it is not what it cost
        calls = run.calls.get(row.ref, ())
        for call in calls:
            found.setdefault(kind_of(call), []).append(call.cost_usd or 0.0)
        # The row has the last word: it may be of a version that entered no calls.
        rest = row.cost_usd - math.fsum(call.cost_usd or 0.0 for call in calls)
        found.setdefault(kind_of_tier(row.tier), []).append(rest)
    paid: dict[Kind, float] = {kind: math.fsum(found[kind]) for kind in KINDS if kind in found}
    return {kind: cost for kind, cost in paid.items() if abs(cost) > _ROUNDING_USD}


def _mean(scores: Mapping[str, tuple[float, int]]) -> tuple[float, int] | None:
    count = sum(each for _, each in scores.values())
    if not count:
        return None
    return math.fsum(mean * each for mean, each in scores.values()) / count, count
