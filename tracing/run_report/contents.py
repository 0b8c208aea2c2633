"""Contents: what a report says of a run, before it is Markdown or a page. No text of prompts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..ledger import is_aside
from ..report import headline, newest_answers, usd
from .figures import StepFigures, figures_of
from .run import HITS, Run, is_hit
from .scale import shown_ms
from .step_picture import chosen, step_picture
from .svg import Picture
from .troubles import escalations_of, failed_calls_of, failed_steps_of
from .waterfall_picture import note, waterfall_picture

COLUMN_PX = 672
"""How wide a Markdown artifact is in the Prefect UI."""

_MOST_ROWS = 20


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text below their headings. `numbers`: which columns, from 0, are of numbers.

    `rest`: says what was left out; empty for nothing.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int]
    rest: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, and what stands below it."""

    title: str
    picture: Picture | None = None
    note: str = ""
    table: Table | None = None


@dataclass(frozen=True, slots=True)
class Contents:
    """All that a report says. `began`: in UTC. `total`: of the whole run."""

    title: str
    flow_run_id: str
    began: str
    headline: str
    total: StepFigures
    sections: Sequence[Section]


def contents_of(run: Run, width: float = COLUMN_PX) -> Contents:
    """Return what there is to say of a run, with pictures so wide, in px."""
    steps, total = figures_of(run)
    return Contents(
        title=run.flow or "Without a flow",
        flow_run_id=run.flow_run_id,
        began=f"{run.rows[0].at[:19].replace('T', ' ')} UTC",
        headline=f"{headline(total.summary)} {troubled(total)}",
        total=total,
        sections=[
            Section("When the steps ran", waterfall_picture(run, width), note(run)),
            Section(
                "What the steps cost, took and were worth",
                step_picture(steps, width),
                _left_out(steps),
                _steps(steps, total),
            ),
            *_troubles(run),
            *_refs(run),
        ],
    )


def troubled(total: StepFigures) -> str:
    """Say in one sentence what did not go by itself."""
    said = [
        f"{count:,} {what}"
        for count, what in (
            (total.escalated, "escalated"),
            (total.failed_over, "failed over"),
            (total.summary.failed_steps, "failed"),
        )
        if count
    ]
    return f"{', '.join(said)}." if said else "None escalated, failed over or failed."


def _left_out(steps: Sequence[StepFigures]) -> str:
    left = len(steps) - len(chosen(steps))
    return (
        f"The picture shows those that cost most; {left:,} more are in the table." if left else ""
    )


def _steps(steps: Sequence[StepFigures], total: StepFigures) -> Table:
    columns = ["step", "tiers", "calls", "hits", "escalated", "failed over", "failed"]
    columns += ["tokens in", "out", "cost", "strongest", "p50", "p95"]
    if total.score:
        columns.append("quality")
    rows = [_step(each, with_score=total.score is not None) for each in (*steps, total)]
    return Table(columns, rows, frozenset(range(2, len(columns))))


def _step(each: StepFigures, *, with_score: bool) -> list[str]:
    one = each.summary
    counts = (
        one.calls,
        one.exact_hits + one.similar_hits,
        each.escalated,
        each.failed_over,
        one.failed_steps,
        one.input_tokens,
        one.output_tokens,
    )
    cells = [one.step, one.tiers, *(f"{count:,}" for count in counts)]
    cells.append(usd(one.cost_usd) + (f" and {one.unpriced:,} unpriced" if one.unpriced else ""))
    cells.append("unknown" if one.strongest_usd is None else usd(one.strongest_usd))
    cells += [shown_ms(one.p50_ms), shown_ms(one.p95_ms)]
    if with_score:
        cells.append("" if each.score is None else f"{each.score[0]:.2f} of {each.score[1]:,}")
    return cells


def _troubles(run: Run) -> Iterator[Section]:
    if escalated := escalations_of(run):
        rows = [(each.step, each.to, f"{each.count:,}", each.why) for each in escalated]
        table = _table(("step", "answered by", "times", "why"), rows, {2}, "reasons")
        yield Section("Escalations", table=table)
    if calls := failed_calls_of(run):
        told = [
            (
                each.step,
                each.deployment,
                each.error,
                f"{each.count:,}",
                _after(each.steps, each.answered),
            )
            for each in calls
        ]
        columns = ("step", "deployment", "error", "calls", "the steps that made them")
        yield Section("Failed calls", table=_table(columns, told, {3}, "failures"))
    failed = failed_steps_of(run)
    for title, steps in (
        ("Steps without an answer", [each for each in failed if not is_aside(each.step)]),
        ("Asked beside the answers, and failed", [each for each in failed if is_aside(each.step)]),
    ):
        if steps:
            lost = [(each.step, each.error, f"{each.count:,}") for each in steps]
            yield Section(title, table=_table(("step", "error", "steps"), lost, {2}, "failures"))


def _refs(run: Run) -> Iterator[Section]:
    if found := newest_answers(run.rows):
        rows = [(row.step, row.tier, row.ref) for row in found]
        table = _table(("step", "tier", "ref"), rows, set(), "steps")
        said = "To say how good one was: tierflow feedback REF."
        yield Section("The newest answer of each step", note=said, table=table)


def _after(steps: int, answered: int) -> str:
    if answered == 0:
        return "no answer" if steps == 1 else f"none of {steps:,} answered"
    if answered == steps:
        return "answered all the same" if steps == 1 else f"all {steps:,} answered all the same"
    return f"{answered:,} of {steps:,} answered all the same"


def _table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: set[int], what: str
) -> Table:
    left = len(rows) - _MOST_ROWS
    rest = f"{left:,} other {what} are not shown." if left > 0 else ""
    return Table(columns, rows[:_MOST_ROWS], frozenset(numbers), rest)


def every_step(run: Run) -> Table:
    """Return a row for each step of a run, in the order in which they ended."""
    columns = ["began", "step", "outcome", "tier", "model", "cache", "calls"]
    columns += ["tokens in", "out", "cost", "latency", "ref"]
    rows = [
        (
            row.at[11:23],
            row.step,
            row.outcome,
            row.tier,
            row.model,
            HITS[row.cache] if is_hit(row) else row.cache,
            f"{len(run.calls.get(row.ref, ())):,}",
            f"{row.input_tokens:,}",
            f"{row.output_tokens:,}",
            "unpriced" if row.cost_usd is None else usd(row.cost_usd),
            shown_ms(row.latency_ms),
            row.ref,
        )
        for row in run.rows
    ]
    return Table(columns, rows, frozenset({6, 7, 8, 9, 10}))
