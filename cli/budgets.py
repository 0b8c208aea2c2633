"""Part of the command line about budgets: what was spent of each, and what is left."""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import click
from rich.markup import escape

from ..routing.budgets import Balance, open_budgets
from ..settings import Settings, settings
from ..tables import Column, key, number, print_table
from ..tracing.report import usd

_NEWEST_RUNS = 5


@click.command()
@click.option("--all", "every", is_flag=True, help="Past days, months and all runs, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def budgets(*, every: bool, as_json: bool) -> None:
    """Show what was spent of each budget, and what is left.

    Those of [[budgets]] in tierflow.toml, and those that steps set with budget_usd= once they have
    run: of this day and month in UTC, and of the newest runs. Kept for a hundred days.
    """
    current = settings()
    found = _with_unused(_kept(current), current)
    if not every:
        found = _of_now(found, datetime.now(UTC))
    if as_json:
        click.echo(json.dumps([_shown(each) for each in found], indent=2))
        return
    if not found:
        click.echo(
            'No budget is set. Write [[budgets]] in tierflow.toml (usd = 5.0, per = "day"), or '
            "@llm_task(budget_usd=0.5)."
        )
        return
    columns = [
        key("budget"),
        Column("of", folds=10),
        number("spent"),
        number("set aside", 1, "for calls under way, which may cost less"),
        number("left"),
    ]
    print_table(columns, [_cells(each) for each in found], title="Budgets")


def _kept(current: Settings) -> list[Balance]:
    # A look makes no folder.
    if current.store_url is None and not (current.home / "budgets.db").exists():
        return []
    with closing(open_budgets(current)) as store:
        return list(store.balances())


def _with_unused(kept: Sequence[Balance], current: Settings) -> list[Balance]:
    """Return the accounts by the sums in force now, and those that nobody has used yet."""
    in_file = {each.scope: each for each in current.budgets}
    found = [
        replace(each, usd=budget.usd, label=budget.label_of(each.value))
        if (budget := in_file.get(each.budget)) is not None
        else each
        for each in kept
    ]
    now = datetime.now(UTC)
    windows = {"run": "", "day": f"{now:%Y-%m-%d}", "month": f"{now:%Y-%m}"}
    for scope, budget in in_file.items():
        window = windows[budget.per]
        if not any(each.budget == scope and each.window.startswith(window) for each in kept):
            unused = Balance(
                budget=scope,
                label=budget.label,
                window=window,
                value="",
                usd=budget.usd,
                spent=0.0,
                held=0.0,
                at=0.0,
            )
            found.append(unused)
    return found


def _of_now(found: Sequence[Balance], now: datetime) -> list[Balance]:
    today = {"day": f"{now:%Y-%m-%d}", "month": f"{now:%Y-%m}"}
    # The newest come first.
    runs = list(dict.fromkeys(each.window for each in found if _per(each) == "run"))[:_NEWEST_RUNS]
    return [
        each
        for each in found
        if (each.window in runs if _per(each) == "run" else each.window == today[_per(each)])
    ]


def _per(balance: Balance) -> str:
    return balance.budget.partition(" ")[0].strip("'")


def _shown(balance: Balance) -> dict[str, Any]:
    return {**asdict(balance), "per": _per(balance), "left": balance.left}


def _cells(each: Balance) -> Sequence[str]:
    left = usd(each.left)
    return (
        escape(each.label),
        escape(each.window or "no run yet"),
        usd(each.spent),
        usd(each.held),
        f"[red]{left}[/]" if each.left == 0 else left,
    )
