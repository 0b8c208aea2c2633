"""Ground: the command line's part about money: what was spent, by what, and on which runs."""

import json
import re
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import click
from rich.console import Console
from rich.table import Table

from .settings import settings
from .tracing import By, Costs, FlowRun, Ledger, Window, open_ledger, share_of, total_of
from .tracing.costs import OF_CALLS
from .tracing.report import usd

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
_AGO = re.compile(r"(\d+)([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_NAMELESS = "(none)"


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
    Console().print(_table(by, found, total))


def _table(by: By, found: Sequence[Costs], total: Costs) -> Table:
    table = Table(title=f"Costs by {by}", title_justify="left", title_style="bold")
    table.add_column(by, overflow="fold")
    of_calls = by in OF_CALLS
    for heading in ("calls", "tok. in", "cached", "out", "cost", "share", "unpriced"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("guessed",) if of_calls else ("cache saved", "strongest"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in (*found, total):
        if each is total:
            table.add_section()
        share = share_of(each, total)
        strongest = "?" if each.strongest_usd is None else usd(each.strongest_usd)
        table.add_row(
            each.name or _NAMELESS,
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
    table.caption = (
        "guessed: calls whose tokens are estimated."
        if of_calls
        else "strongest: the answers' tokens at the price of the strongest tier."
    )
    return table


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
    Console().print(_runs_table(found))


def _runs_table(found: Sequence[FlowRun]) -> Table:
    table = Table(title="Flow runs", title_justify="left", title_style="bold")
    table.add_column("began (UTC)", no_wrap=True)
    table.add_column("flow", overflow="fold")
    table.add_column("flow run", no_wrap=True)
    for heading in ("steps", "failed", "cost", "unpriced"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in found:
        table.add_row(
            each.at[:19].replace("T", " "),
            each.flow or _NAMELESS,
            each.flow_run_id,
            f"{each.steps:,}",
            f"{each.failed:,}",
            usd(each.cost_usd),
            f"{each.unpriced:,}",
        )
    return table
