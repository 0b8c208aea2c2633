"""Part of the command line about pools that serve the same model in different ways."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from ...errors import ConfigError
from ...serving.validation.consulting import open_policies
from ...serving.validation.decision import Compared, Decision
from ...serving.validation.opening import VALID_DAYS, Validation
from ...serving.validation.policy import Policy
from ...serving.validation.report import as_json, markdown, served_by
from ...serving.validation.slices import DIMENSIONS, Dimension
from ...serving.validation.trials import Extent
from ...serving.validation.validating import Question
from ...settings import settings

_JSON = click.option("--json", "as_json_", is_flag=True, help="Print JSON instead of text.")


def _dimensions(_: click.Context, __: click.Parameter, value: str) -> frozenset[Dimension]:
    named = frozenset(each.strip() for each in value.split(","))
    if unknown := named - frozenset(DIMENSIONS):
        raise click.BadParameter(
            f"{', '.join(sorted(unknown))} is none. Known: {', '.join(DIMENSIONS)}."
        )
    return frozenset(each for each in DIMENSIONS if each in named)


def _concurrencies(_: click.Context, __: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        found = tuple(sorted({int(each) for each in value.split(",")}))
    except ValueError:
        found = (0,)
    if found[0] < 1:
        raise click.BadParameter(f"{value!r}: write numbers from 1, with commas: 1,4,8.")
    return found


@click.command("validate")
@click.option("--pool", required=True, help="The plain pool, of tierflow.toml.")
@click.option(
    "--against",
    multiple=True,
    required=True,
    metavar="POOL",
    help="One that serves the same model another way. Again for each draft or k to choose from.",
)
@click.option(
    "--requests",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Recorded requests. Default: [cassette] path.",
)
@click.option(
    "--slices",
    default="step,length,concurrency",
    show_default=True,
    callback=_dimensions,
    help=f"What is decided apart: {', '.join(DIMENSIONS)}.",
)
@click.option(
    "--concurrency",
    default="1,4,8",
    show_default=True,
    callback=_concurrencies,
    help="Requests at once, each tried in turn.",
)
@click.option(
    "--pairs", type=click.IntRange(6), default=12, show_default=True, help="Pairs a trial."
)
@click.option(
    "--limit", type=click.IntRange(6), default=200, show_default=True, help="Requests a slice."
)
@click.option(
    "--lossy",
    multiple=True,
    metavar="POOL",
    help="One of --against that relaxes what it accepts of drafts.",
)
@click.option("--accept-lossy", is_flag=True, help="Adopt that too where it is faster.")
@click.option("--seed", type=int, default=0, show_default=True, help="Draws what is replayed.")
@click.option(
    "--valid-days",
    type=click.FloatRange(0, min_open=True),
    default=VALID_DAYS,
    show_default=True,
    help="How long the decision is obeyed.",
)
@click.option("--dry-run", is_flag=True, help="Decide, and keep nothing.")
@click.option(
    "--report",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write the report with its picture, as Markdown.",
)
@_JSON
def validate(
    *,
    pool: str,
    against: tuple[str, ...],
    requests: Path | None,
    slices: frozenset[Dimension],
    concurrency: tuple[int, ...],
    pairs: int,
    limit: int,
    lossy: tuple[str, ...],
    accept_lossy: bool,
    seed: int,
    valid_days: float,
    dry_run: bool,
    report: Path | None,
    as_json_: bool,
) -> None:
    """Replay recorded requests against pools, and decide which of them serves what.

    Each slice of the workload is replayed at temperature 0, interleaved, at each concurrency. What
    is proven to be over 1.05 times as fast (95 % lower bound of a paired bootstrap) and says the
    same is adopted for it, up to that concurrency; all else stays with --pool. Steps obey within
    seconds. Ctrl-C keeps the slices that are decided.

    \b
    tierflow serving validate --pool llama --against llama-draft
    tierflow serving validate --pool llama --against k2 --against k4 --concurrency 1,2,4,8,16
    """  # noqa: D301  # \b is click's mark for lines that it leaves alone
    extent = Extent(concurrency, pairs)
    question = Question(
        pool, slices, extent, frozenset(lossy), accept_lossy, limit=limit, seed=seed
    )
    validation = Validation(settings(), question, against, requests)
    found, blocks = list[Decision](), validation.blocks
    with Progress(console=Console(stderr=True)) as bar:
        replaying = bar.add_task(f"Replaying {pool}", total=blocks)
        _run(validation, lambda: bar.advance(replaying), found.append)
    if not found:
        raise click.ClickException("Nothing was decided before it was interrupted.")
    policy = validation.policy(found, now=time.time(), valid_days=valid_days)
    if not dry_run:
        with closing(open_policies(settings())) as store:
            store.add(policy)
    if report is not None:
        report.write_text(markdown(policy, found), encoding="utf-8")
    if as_json_:
        click.echo(json.dumps({**as_json(policy, found), "kept": not dry_run}, indent=2))
        return
    Console().print(_table(policy, found))
    click.echo("Nothing was kept." if dry_run else "Steps obey it within seconds.")


def _run(
    validation: Validation, served: Callable[[], None], decided: Callable[[Decision], None]
) -> None:
    try:
        asyncio.run(validation.run(served, decided))
    except KeyboardInterrupt:
        click.echo("Interrupted. What was decided so far is kept.", err=True)


def _table(policy: Policy, found: Sequence[Decision]) -> Table:
    table = Table(title=f"Who serves {escape(policy.pool)}", title_justify="left")
    table.add_column("requests", min_width=16, overflow="fold")
    table.add_column("served by", overflow="fold")
    table.add_column("why", overflow="fold")
    for each in found:
        table.add_row(escape(each.slice.label), escape(served_by(each, policy.pool)), _why(each))
    return table


def _why(decision: Decision) -> str:
    measured = "; ".join(_measured(each) for each in decision.compared)
    return escape(f"{decision.rule.reason} ({measured})")


def _measured(one: Compared) -> str:
    times = "?" if one.speedup is None else f"x{one.speedup.estimate:.2f}"
    return f"{one.trial.against} at {one.trial.concurrency}: {times}"


@click.command("policy")
@click.argument("pool", required=False)
@click.option("--drop", is_flag=True, help="Have POOL serve everything itself again.")
@_JSON
def policy_(*, pool: str | None, drop: bool, as_json_: bool) -> None:
    """Show which pools serve what, as it was decided; or drop the decision of POOL."""
    if drop and pool is None:
        raise click.UsageError("--drop needs the POOL whose decision is dropped.")
    with closing(open_policies(settings())) as store:
        known = store.pools()
        if pool is not None and pool not in known:
            raise ConfigError(
                f"Nothing was decided of {pool}. Known: {', '.join(known) or 'none'}. "
                "`tierflow serving validate` decides."
            )
        if drop and pool is not None:
            store.drop(pool)
        found = {name: store.newest(name) for name in known if pool in (None, name)}
    if as_json_:
        click.echo(json.dumps({name: _policy_json(each) for name, each in found.items()}, indent=2))
        return
    if not any(found.values()):
        click.echo("Each pool serves its requests itself.")
        return
    table = Table(title="Serving policies", title_justify="left")
    for heading in ("pool", "requests", "served by", "until"):
        table.add_column(heading, overflow="fold")
    for name, policy in found.items():
        for rule in policy.rules if policy else ():
            steps = ", ".join(f"{step.pool} up to {step.up_to} at once" for step in rule.steps)
            until = datetime.fromtimestamp(policy.expires_at, UTC) if policy else None
            table.add_row(
                escape(name),
                escape(rule.slice.label),
                escape(steps or name),
                f"{until:%Y-%m-%d %H:%M}" if until else "",
            )
    Console().print(table)


def _policy_json(policy: Policy | None) -> Any:
    return None if policy is None else json.loads(policy.to_json())
