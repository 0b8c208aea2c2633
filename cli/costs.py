"""Part of the command line about money: what was spent, by what, and on which runs."""

import json
import re
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import click
from rich.markup import escape

from ..settings import settings
from ..tables import Column, key, number, print_table
from ..tracing import By, Costs, FlowRun, Ledger, Window, open_ledger, share_of, total_of
from ..tracing.costs import OF_CALLS
from ..tracing.report import usd

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
_AGO = re.compile(r"(\d+)([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_NAMELESS = "(none)"
_GUESSED = (number("guessed", 6, "calls whose tokens are estimated"),)
_COMPARED = (
    number("saved", 6, "by caches, ours and the providers'"),
    number("strongest", 7, "the answers' tokens at the strongest tier's price"),
)


class Moment(click.ParamType[str]):
    """A time: so long ago (7d, 12h, 30m, 2w), or an ISO date or time in UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return it as the ledger writes times. Fails with what to write instead."""
        text = str(value).strip()
        try:
            if found := _AGO.fullmatch(text):
                ago = timedelta(**{_UNITS[found[2]]: int(found[1])})
                return _written(datetime.now(UTC) - ago)
            at = datetime.fromisoformat(text)
        except (ValueError, OverflowError):
            self.fail(
                f"{text!r} is no time. Write how long ago (7d, 12h, 30m, 2w), or a date or time "
                "in UTC (2026-11-01, 2026-11-01T09:30).",
                param,
                ctx,
            )
        return _written(at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC))


def _written(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")


@contextmanager
def reading() -> Generator[Ledger]:
    """Give the ledger in force. A look makes no folder. Raises ClickException for an empty one."""
    current = settings()
    if current.store_url is None and not (current.home / "ledger.db").exists():
        raise click.ClickException(
            f"No LLM step is in {current.home / 'ledger.db'}. Run one here, or go to the directory "
            "where it ran."
        )
    with closing(open_ledger(current)) as ledger:
        yield ledger


@click.command()
@click.option(
    "--by",
    type=click.Choice(get_args(By)),
    default="step",
    show_default=True,
    help="By model and role: calls of models, each for itself; else whole steps.",
)
@click.option("--since", type=Moment(), help="7d, 12h, or a date in UTC: from its beginning.")
@click.option("--until", type=Moment(), help="The same; what began then or later does not count.")
@click.option("--flow", metavar="NAME", help="Only steps of that flow.")
@_JSON
def costs(*, by: By, since: str | None, until: str | None, flow: str | None, as_json: bool) -> None:
    """Sum what was spent, by step, tier, model, day, tenant, flow, role or arm.

    Roles tell answers, repairs and judges apart; audits, calibrations and what else is asked to
    learn about a step are steps of their own. What has no known price is counted, never as 0.
    """
    window = Window(since, until, flow)
    if since is not None and until is not None and since >= until:
        raise click.UsageError(f"--since {since} is not before --until {until}.")
    with reading() as ledger:
        found = ledger.costs(by, window)
    total = total_of(found)
    if as_json:
        shown = {
            "by": by,
            **asdict(window),
            "costs": [{**asdict(each), "share": share_of(each, total)} for each in found],
            "total": asdict(total),
        }
        click.echo(json.dumps(shown, indent=2))
        return
    _print(by, found, total)


def _print(by: By, found: Sequence[Costs], total: Costs) -> None:
    of_calls = by in OF_CALLS
    columns = [
        key(by),
        number("calls"),
        number("tok. in", 2),
        number("cached", 5),
        number("out", 3),
        number("cost"),
        number("share", 1),
        number("unpriced", 4),
        *(_GUESSED if of_calls else _COMPARED),
    ]
    each_row = [_row(each, total, of_calls=of_calls) for each in found]
    rows = [*each_row, None, _row(total, total, of_calls=of_calls)]
    print_table(columns, rows, title=f"Costs by {by}")


def _row(each: Costs, total: Costs, *, of_calls: bool) -> Sequence[str]:
    share = share_of(each, total)
    strongest = "?" if each.strongest_usd is None else usd(each.strongest_usd)
    return (
        escape(each.name or _NAMELESS),
        f"{each.calls:,}",
        f"{each.input_tokens:,}",
        f"{each.cache_read_tokens:,}",
        f"{each.output_tokens:,}",
        usd(each.cost_usd),
        "" if share is None else f"{share:.0%}",
        f"{each.unpriced:,}",
        *(
            (f"{each.guessed or 0:,}",)
            if of_calls
            else (usd(each.saved_usd + each.saved_by_prefix_usd), strongest)
        ),
    )


@click.command("list")
@click.option("-n", "--limit", type=click.IntRange(1), default=20, show_default=True)
@_JSON
def runs_list(*, limit: int, as_json: bool) -> None:
    """List the newest flow runs with what they cost."""
    with reading() as ledger:
        found = ledger.flow_runs(limit)
    if as_json:
        click.echo(json.dumps([asdict(each) for each in found], indent=2))
        return
    columns = [
        Column("began (UTC)", spare=1),
        # So narrow that the rest of what names a run has room in 80 letters.
        Column("flow", folds=8),
        Column("flow run"),
        number("steps", 4),
        number("failed", 2),
        number("cost"),
        number("unpriced", 3),
    ]
    print_table(columns, [_run(each) for each in found], title="Flow runs")


def _run(each: FlowRun) -> Sequence[str]:
    return (
        each.at[:16].replace("T", " "),
        escape(each.flow or _NAMELESS),
        escape(each.flow_run_id),
        f"{each.steps:,}",
        f"{each.failed:,}",
        usd(each.cost_usd),
        f"{each.unpriced:,}",
    )
