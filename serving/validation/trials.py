"""Trials: replays recorded requests against several ways of serving, interleaved.

Each pair serves the same requests by the plain way and by another, one right after the other and
in random order: what the machine does meanwhile meets both. All ways see each request equally
often, so their prefix caches are equally warm.
"""

import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ...cassette import RecordedRequest
from ..load import Counters
from .measured import Block, Pair, Trial


class Endpoint(Protocol):
    """One way of serving."""

    async def serve(self, requests: Sequence[RecordedRequest], concurrency: int) -> Block:
        """Have requests served, so many at a time. Raises EngineUnreadableError."""
        ...

    async def counted(self) -> Counters | None:
        """Return what it has counted so far, drafts above all; None if it tells nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured: `pairs` per trial, of `per_place` requests for each place at once."""

    concurrencies: tuple[int, ...] = (1, 4, 8)
    pairs: int = 12
    per_place: int = 2

    def block(self, concurrency: int) -> int:
        """Return how many requests one block has."""
        return 1 if concurrency == 1 else concurrency * self.per_place


async def trials(
    requests: Sequence[RecordedRequest],
    plain: Endpoint,
    others: Mapping[str, Endpoint],
    extent: Extent,
    *,
    seed: int,
    served: Callable[[], None] = lambda: None,
) -> AsyncIterator[Trial]:
    """Yield one Trial per concurrency and other way. `served` is told of each block.

    Raises ValueError without requests, EngineUnreadableError where an endpoint fails: what is
    measured of a broken endpoint proves nothing.
    """
    if not requests:
        raise ValueError("There is nothing to replay. Give at least one recorded request.")
    order = random.Random(seed)  # noqa: S311  # which goes first is no secret
    ways: dict[str, Endpoint] = {"": plain, **others}
    for concurrency in extent.concurrencies:
        size = extent.block(concurrency)
        shuffled = order.sample(requests, len(requests))
        # The first block of each way warms it up: shapes are compiled, connections opened.
        for way in ways.values():
            await way.serve(_taken(shuffled, 0, size), concurrency)
            served()
        before = {name: await way.counted() for name, way in others.items()}
        found: list[dict[str, Block]] = []
        for number in range(extent.pairs):
            chosen, blocks = _taken(shuffled, number * size, size), dict[str, Block]()
            for name in order.sample(list(ways), len(ways)):
                blocks[name] = await ways[name].serve(chosen, concurrency)
                served()
            found.append(blocks)
        for name, way in others.items():
            pairs = [Pair(blocks[""], blocks[name]) for blocks in found]
            if any(_differ(pair) for pair in pairs):
                pairs = [
                    replace(
                        pair,
                        again=await plain.serve(_taken(shuffled, at * size, size), concurrency),
                    )
                    for at, pair in enumerate(pairs)
                ]
            acceptance = _acceptance(before[name], await way.counted())
            yield Trial(concurrency, name, tuple(pairs), acceptance)


def blocks_of(extent: Extent, others: int) -> int:
    """Return how many blocks `trials` serves at least, for showing progress."""
    return len(extent.concurrencies) * (1 + others) * (1 + extent.pairs)


def _taken(
    requests: Sequence[RecordedRequest], start: int, count: int
) -> Sequence[RecordedRequest]:
    return [requests[(start + at) % len(requests)] for at in range(count)]


def _differ(pair: Pair) -> bool:
    return any(
        one.said != two.said for one, two in zip(pair.plain.served, pair.other.served, strict=True)
    )


def _acceptance(before: Counters | None, after: Counters | None) -> float | None:
    return None if before is None or after is None else after.since(before).acceptance
