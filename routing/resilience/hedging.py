"""Hedging: which calls are asked twice, and how the two race. Bounded, so no outage is doubled."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from ...errors import AttemptError
from ...request import Reply, Usage
from ...tracing import prices_of
from ..effects import Ask, Hedge, Raced

_MOST_SAVED = 10.0
CANCELLED = "cancelled"
"""The finish reason of a reply that was not waited for: its tokens and its cost are a guess."""


class HedgeShares:
    """How many calls of each tier were hedged. A tier may save up ten hedges, no more."""

    def __init__(self) -> None:
        self._saved: dict[str, float] = {}
        self._lock = threading.Lock()

    def called(self, tier: str, share: float) -> None:
        """Count a call that may be hedged: it earns its share of a hedge."""
        with self._lock:
            self._saved[tier] = min(_MOST_SAVED, self._saved.get(tier, 1.0) + share)

    def take(self, tier: str) -> bool:
        """Spend a hedge; False if none is saved."""
        with self._lock:
            if self._saved.get(tier, 0.0) < 1:
                return False
            self._saved[tier] -= 1
            return True


async def race(
    hedge: Hedge, ask: Callable[[Ask], Coroutine[Any, Any, Reply]], may_hedge: Callable[[], bool]
) -> Raced:
    """Ask the first, after a while the second too, and return who replied first.

    The other is cancelled. A failure before the second was asked ends it: failover goes on.
    """
    running: dict[asyncio.Task[Reply], Ask] = {}

    def start(which: Ask) -> None:
        running[asyncio.ensure_future(ask(which))] = which

    failures: list[AttemptError] = []
    replies: list[Reply] = []
    start(hedge.first)
    try:
        done, _ = await asyncio.wait(running, timeout=hedge.after_s)
        if not done and may_hedge():
            start(hedge.second)
        while running and not replies and all(error.elsewhere for error in failures):
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in sorted(done, key=list(running).index):
                del running[task]
                _enter(task, replies, failures)
    except BaseException:
        await _cancel(running)
        raise
    losers = tuple(running.values())
    ended = await _cancel(running)
    cancelled = tuple(
        loser for loser, end in zip(losers, ended, strict=True) if not isinstance(end, Reply)
    )
    replies += [end for end in ended if isinstance(end, Reply)]
    return Raced(replies[0] if replies else None, tuple(failures), tuple(replies[1:]), cancelled)


def _enter(task: asyncio.Task[Reply], replies: list[Reply], failures: list[AttemptError]) -> None:
    try:
        replies.append(task.result())
    except AttemptError as error:
        failures.append(error)


async def _cancel(running: dict[asyncio.Task[Reply], Ask]) -> list[Reply | BaseException]:
    for task in running:
        task.cancel()
    return await asyncio.gather(*running, return_exceptions=True)


def not_waited_for(ask: Ask, winner: Reply) -> Reply:
    """Return the reply of a cancelled call, as far as it must be paid for all the same.

    A provider bills what it read and had written by then. Nobody is told how much that was, so it
    is taken for what the winner took: the same request, and not less than was written.
    """
    usage = Usage(winner.usage.input_tokens, winner.usage.output_tokens, estimated=True)
    prices = prices_of(ask.deployment)
    return Reply(
        text="",
        tier=ask.tier.name,
        deployment=ask.deployment.name,
        model=ask.deployment.model,
        usage=usage,
        cost_usd=None if prices is None else prices.cost_usd(usage),
        latency_ms=0.0,
        finish_reason=CANCELLED,
    )
