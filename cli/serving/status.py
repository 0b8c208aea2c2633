"""Part of the command line about how pools of engines do. Asks their pages alone."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

import click
from rich.markup import escape

from ...pools import Pool
from ...serving import Seen, find, see
from ...settings import settings, shown_url
from ...tables import Column, key, number, print_table

_NO_ADDRESS = "its host has no address"
_NO_CONNECTION = "a replica takes no connections"
_COLUMNS = (
    key("pool"),
    Column("affinity", spare=1),
    Column("replica", folds=14),
    Column("up"),
    number("running"),
    number("waiting"),
    number("KV use"),
    number("hits", note="the share of prompt tokens that were cached, since the engine started"),
)


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
    print_table(_COLUMNS, list(_cells(rows)), title="Pools", caption="\n".join(_reasons(rows)))


def _cells(rows: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[str]]:
    last = ""
    for row in rows:
        yield (
            escape(row["pool"]) if row["pool"] != last else "",
            row["affinity"] if row["pool"] != last else "",
            escape(row["replica"]),
            "[green]yes[/]" if row["up"] else "[red]no[/]",
            *(_count(row[each]) for each in ("running", "waiting")),
            *(_share(row[each]) for each in ("kv_cache_use", "hit_rate")),
        )
        last = row["pool"]


def _reasons(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield why replicas are not up, each reason once."""
    down = dict.fromkeys(row["reason"] for row in rows if not row["up"])
    for reason in down:
        named = dict.fromkeys(row["pool"] for row in rows if row["reason"] == reason)
        yield f"{escape(', '.join(named))}: {reason}."


def pool_load(pool: Pool) -> str:
    """Return in one line how a pool does."""
    seen = _seen(pool)
    if not seen:
        return _NO_ADDRESS
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
    return [_row(name, pool, each, _NO_CONNECTION) for each in _seen(pool)] or [
        _row(name, pool, Seen(pool.dns or "", is_up=False), _NO_ADDRESS)
    ]


def _row(name: str, pool: Pool, seen: Seen, reason: str) -> Mapping[str, Any]:
    told = seen.signals
    return {
        "pool": name,
        "affinity": pool.affinity,
        "replica": shown_url(seen.replica),
        "up": seen.is_up,
        "reason": None if seen.is_up else reason,
        "running": told and told.running,
        "waiting": told and told.waiting,
        "kv_cache_use": told and told.kv_cache_use,
        "hit_rate": told and told.hit_rate,
    }


def _count(number: float | None) -> str:
    return "" if number is None else f"{number:.0f}"


def _share(number: float | None) -> str:
    return "" if number is None else f"{number:.0%}"
