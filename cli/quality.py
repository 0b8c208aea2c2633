"""Part of the command line about how good answers are."""

import json
import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import click
from rich.markup import escape

from ..settings import settings
from ..tables import LEAST_KEY, Column, Rows, key, number, print_table
from ..tracing.evaluations import By, Measure, measures, open_evaluations
from .feedback import existing_ledger

_UNITS = {"d": "days", "h": "hours", "m": "minutes"}


def _since(_context: object, _option: object, value: str | None) -> datetime | None:
    """Read a time: so long ago, or a date. Raises click.BadParameter."""
    if value is None:
        return None
    if ago := re.fullmatch(r"(\d{1,6})([dhm])", value):
        return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        said = f"{value!r} is no time. Write 7d, 24h, 30m, or 2026-01-31."
        raise click.BadParameter(said) from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


@click.command("quality")
@click.option("--step", help="Only answers of this step.")
@click.option(
    "--since",
    callback=_since,
    metavar="7d|24h|DATE",
    help="So long ago at most, or from that day on (UTC).",
)
@click.option(
    "--by",
    type=click.Choice(["step", "tier", "model", "arm"]),
    default="step",
    show_default=True,
    help="What answers are told apart by.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def quality(*, step: str | None, since: datetime | None, by: By, as_json: bool) -> None:
    """Say how good answers are: in rates, means and intervals.

    Task success is the share of steps that ended well. Safety compliance is the share of "pass"
    that `safety` found, hallucination the share of "hallucinated" that `groundedness` found.
    Satisfaction is the mean of what each person said last of an answer, and of evaluations of that
    name. Others have their mean, and the share of each label.

    Intervals are of 95 %: exact ones for shares (Clopper-Pearson), ones that hold for every
    distribution for means (Hoeffding). They are of answers that were drawn at random, as
    evaluators draw them; people who say something are no such sample.
    """
    start = "" if since is None else since.isoformat(timespec="milliseconds")
    with closing(existing_ledger()) as ledger, closing(open_evaluations(settings())) as store:
        found = measures(
            ledger.ended(since=start, step=step), store.counted(since=start, step=step), by
        )
    if as_json:
        said = {"by": by, "since": start or None, "measures": [asdict(each) for each in found]}
        click.echo(json.dumps(said, indent=2))
        return
    if not found:
        raise click.ClickException(
            "Nothing is known of such answers. Widen --since, or name a step that `tierflow runs "
            "last` shows."
        )
    columns = [
        key(by),
        Column("what", folds=LEAST_KEY),
        number(""),
        number("95 % interval", 1),
        number("of"),
    ]
    print_table(columns, _rows(found), title="Quality")


def _rows(found: list[Measure]) -> Rows:
    rows, last = list[Sequence[str] | None](), None
    for each in found:
        if last not in {None, each.group}:
            rows.append(None)
        shown = "" if each.group == last else escape(each.group or "(none)")
        between = f"{_shown(each, each.low)} to {_shown(each, each.high)}"
        value = _shown(each, each.value)
        rows.append((shown, escape(each.name), value, between, f"{each.count:,}"))
        last = each.group
    return rows


def _shown(measure: Measure, value: float) -> str:
    return f"{value:.1%}" if measure.kind == "share" else f"{value:.3f}"
