"""Part of the command line about how pools of engines do. Asks their pages alone."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ...pools import Pool
from ...serving import Seen, find, see
from ...settings import settings, shown_url


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def status(*, as_json: bool) -> None:
    """Show each pool's replicas: who is up, how busy, and what is cached.

    A replica without a metrics page (transformers serve) is up, and nothing more is known of it.
    """
    pools = settings().pools
    rows = [row for name, pool in pools.items() for row in _rows(name, pool)]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        click.echo("No pools. Name replicas under [pools.NAME] in tierflow.toml.")
        return
    table = Table(title="Pools", title_justify="left")
    table.add_column("pool", no_wrap=True)
    table.add_column("replica", overflow="fold")
    table.add_column("up")
    for heading in ("running", "waiting", "KV cache", "hits"):
        table.add_column(heading, justify="right", no_wrap=True)
    last = ""
    for row in rows:
        name = f"{row['pool']} ({row['affinity']})"
        shares = (_share(row[each]) for each in ("kv_cache_use", "hit_rate"))
        counts = (_count(row[each]) for each in ("running", "waiting"))
        up = "[green]yes[/]" if row["up"] else "[red]no[/]"
        table.add_row(name if name != last else "", row["replica"], up, *counts, *shares)
        last = name
    table.caption = "hits: the share of prompt tokens that were cached, since the engine started."
    Console().print(table)


def pool_load(pool: Pool) -> str:
    """Return in one line how a pool does."""
    seen = _seen(pool)
    if not seen:
        return "its host has no address"
    signals = [each.signals for each in seen if each.signals is not None]
    told = f"{sum(each.is_up for each in seen)} of {len(seen)} replicas up"
    if not signals:
        return told
    return (
        f"{told}, {sum(each.running for each in signals):.0f} running, "
        f"{sum(each.waiting for each in signals):.0f} waiting, "
        f"{fmean(each.kv_cache_use for each in signals):.0%} of KV cache"
    )


def _seen(pool: Pool) -> Sequence[Seen]:
    async def look() -> Sequence[Seen]:
        try:
            return await see(await find(pool))
        except OSError:
            return ()

    return asyncio.run(look())


def _rows(name: str, pool: Pool) -> Sequence[Mapping[str, Any]]:
    return [_row(name, pool, each) for each in _seen(pool)] or [
        _row(name, pool, Seen(pool.dns or "", is_up=False))
    ]


def _row(name: str, pool: Pool, seen: Seen) -> Mapping[str, Any]:
    told = seen.signals
    return {
        "pool": name,
        "affinity": pool.affinity,
        "replica": shown_url(seen.replica),
        "up": seen.is_up,
        "running": told and told.running,
        "waiting": told and told.waiting,
        "kv_cache_use": told and told.kv_cache_use,
        "hit_rate": told and told.hit_rate,
    }


def _count(number: float | None) -> str:
    return "" if number is None else f"{number:.0f}"


def _share(number: float | None) -> str:
    return "" if number is None else f"{number:.0%}"
