"""The command line. Each command reads one room; `judge` and `route` ask models."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import click
from rich.markup import escape

from ..errors import EngineUnreadableError, TierflowError
from ..routing import is_usable, key_variables, knows_keys
from ..serving import MetricsPage
from ..settings import Deployment, config_path, settings
from ..tables import LEAST_KEY, Column, number, print_table
from ..tracing import as_table, prices_of, rows_of, summarise
from ..tracing.console import print_summaries
from ..tracing.report import newest_answers
from .budgets import budgets
from .cache import cache
from .cache_plan import cache_plan
from .costs import costs, runs_list
from .feedback import feedback
from .judge import judge
from .lint import lint
from .prompt import prompt
from .quality import quality
from .report import last_flow_run, report
from .rollout import rollout
from .route import route
from .serving import serving
from .serving.status import pool_load

F = TypeVar("F", bound=Callable[..., Any])
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tierflow")
def cli() -> None:
    """Look into tierflow: its tiers, its cache and its runs.

    Settings come from the nearest tierflow.toml above the working directory (or the file that
    TIERFLOW_CONFIG names) and from TIERFLOW_* variables. Exit codes: 0 done, 1 it failed and said
    why, 2 the command was not understood.
    """


@cli.command()
@click.option("--probe", is_flag=True, help="Also ask self-hosted engines how busy they are.")
@_JSON
def tiers(*, probe: bool, as_json: bool) -> None:
    """List the tiers: deployments, prices, and which API keys are present."""
    current = settings()
    rows = [
        _deployment_row(name, deployment, probe=probe)
        for name, tier in current.tiers.items()
        for deployment in tier.deployments
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    columns = [
        Column("tier"),
        Column("deployment", folds=LEAST_KEY),
        Column("key", folds=LEAST_KEY),
        number("in $"),
        number("cached", 1),
        number("out $"),
        *([Column("load", folds=8)] if probe else []),
    ]
    print_table(
        columns,
        list(_tier_rows(rows, probe=probe)),
        title=f"Tiers ({escape(str(config_path() or 'the shipped catalogue'))})",
        caption="Prices in USD per million tokens; ? where none is known.",
    )


def _tier_rows(rows: Sequence[dict[str, Any]], *, probe: bool) -> Iterator[Sequence[str]]:
    last = ""
    for row in rows:
        yield (
            escape(row["tier"]) if row["tier"] != last else "",
            escape(row["deployment"]),
            _key_column(row),
            *(_price_column(row[name]) for name in ("input", "cache_read", "output")),
            *([escape(row["load"] or "")] if probe else []),
        )
        last = row["tier"]


def _deployment_row(tier: str, deployment: Deployment, *, probe: bool) -> dict[str, Any]:
    prices = prices_of(deployment)
    return {
        "tier": tier,
        "deployment": deployment.name,
        "keys": list(key_variables(deployment)),
        "usable": is_usable(deployment, os.environ),
        "known": knows_keys(deployment),
        "input": prices and round(prices.input * 1e6, 6),
        "cache_read": prices and round(prices.cache_read * 1e6, 6),
        "output": prices and round(prices.output * 1e6, 6),
        "load": _load(deployment) if probe and deployment.is_self_hosted else None,
    }


def _load(deployment: Deployment) -> str:
    if deployment.pool:
        return pool_load(settings().pools[deployment.pool])
    try:
        found = MetricsPage().read(deployment.api_base or "")
    except EngineUnreadableError as exc:
        return str(exc)
    return (
        f"{found.running:.0f} running, {found.waiting:.0f} waiting, "
        f"{found.kv_cache_use:.0%} of KV cache"
    )


def _key_column(row: dict[str, Any]) -> str:
    if not row["keys"]:
        return "none needed" if row["known"] else "unknown"
    named = " or ".join(row["keys"])
    return f"[green]{named}[/]" if row["usable"] else f"[red]missing: {named}[/]"


def _price_column(usd_per_mtok: float | None) -> str:
    return "?" if usd_per_mtok is None else f"{usd_per_mtok:g}"


cli.add_command(budgets)
cli.add_command(cache)
cli.add_command(costs)
cli.add_command(feedback)
cli.add_command(judge)
cli.add_command(lint)
cli.add_command(prompt)
cli.add_command(quality)
cli.add_command(report)
cli.add_command(rollout)
cli.add_command(route)
cli.add_command(serving)
cache.add_command(cache_plan)


@cli.group()
def runs() -> None:
    """Look into flow runs."""


@runs.command("last")
@_JSON
def runs_last(*, as_json: bool) -> None:
    """Show what the last flow run cost, and how long it took, per step."""
    flow_run_id = last_flow_run()
    rows = rows_of(flow_run_id)
    summaries = summarise(rows)
    if as_json:
        found = {
            "flow_run_id": flow_run_id,
            "flow": rows[0].flow,
            "steps": as_table(summaries),
            "newest": {row.step: row.ref for row in newest_answers(rows)},
        }
        click.echo(json.dumps(found, indent=2))
        return
    print_summaries(summaries, title=f"{rows[0].flow} · {flow_run_id} · {rows[0].at[:16]} UTC")
    if newest := newest_answers(rows):
        click.echo("The newest answer of each step, for `tierflow feedback REF`:")
        for row in newest:
            click.echo(f"  {row.ref}  {row.step}")


runs.add_command(runs_list)


def main() -> None:
    """Run the command line; an error of ours is one line and exit code 1."""
    try:
        cli(prog_name="tierflow")
    except TierflowError as exc:
        click.echo(f"Error: {exc}", err=True)
        sys.exit(1)
