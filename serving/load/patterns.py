"""Patterns: in which order, and how many at once, requests meet an engine."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from .client import Timed

Ask: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[Timed]]


@dataclass(frozen=True, slots=True)
class Asked:
    """All requests of a load, in the order given. `wall_s`: from the first's start to the end."""

    timed: tuple[Timed, ...]
    wall_s: float

    @property
    def tokens_per_s(self) -> float:
        """Tokens that came out, of all requests together."""
        return sum(each.output_tokens for each in self.timed) / self.wall_s if self.timed else 0.0

    @property
    def failed(self) -> tuple[str, ...]:
        """Why requests failed."""
        return tuple(each.error for each in self.timed if each.error is not None)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that is sent `at_s` seconds after the load began, whatever is still under way."""

    at_s: float
    body: Mapping[str, Any]


async def closed_loop(ask: Ask, bodies: Sequence[Mapping[str, Any]], concurrency: int) -> Asked:
    """Have so many requests under way; the next is sent when one has ended.

    Raises ValueError for a concurrency below 1.
    """
    _at_least_one(concurrency)
    found: dict[int, Timed] = {}
    waiting = iter(enumerate(bodies))

    async def place() -> None:
        for at, body in waiting:
            found[at] = await ask(body)

    began = _now()
    await asyncio.gather(*(place() for _ in range(min(concurrency, len(bodies)))))
    return Asked(tuple(found[at] for at in range(len(bodies))), _now() - began)


async def in_batches(ask: Ask, bodies: Sequence[Mapping[str, Any]], size: int) -> Asked:
    """Send so many at once, and the next so many when all of them have ended.

    Raises ValueError for a size below 1.
    """
    _at_least_one(size)
    found: list[Timed] = []
    began = _now()
    for start in range(0, len(bodies), size):
        found += await asyncio.gather(*(ask(body) for body in bodies[start : start + size]))
    return Asked(tuple(found), _now() - began)


async def arriving(ask: Ask, arrivals: Sequence[Arrival]) -> Asked:
    """Send each request at its time, however many are under way."""
    began = _now()

    async def one(arrival: Arrival) -> Timed:
        await asyncio.sleep(max(0.0, began + arrival.at_s - _now()))
        return await ask(arrival.body)

    timed = await asyncio.gather(*map(one, arrivals))
    return Asked(tuple(timed), _now() - began)


def _at_least_one(number: int) -> None:
    if number < 1:
        raise ValueError(f"{number} requests at a time never end. Give at least 1.")


def _now() -> float:
    return asyncio.get_running_loop().time()
