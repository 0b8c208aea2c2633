"""Prefix: has one call's prefix planned, waits its turn if another writes it, and asks.

What is decided is decided in caching; here is the waiting, in this thread or on the event loop.
"""

import time
from collections.abc import Generator
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import replace

from ..caching.prefix import Keeper, Lead
from ..caching.prefix.keeper import PEEK_S
from ..request import Chunk, Reply
from ..routing import Ask, ModelClient, OnChunk
from .waiting import wait_for


def ask_kept(ask: Ask, keeper: Keeper, client: ModelClient) -> Reply:
    """Ask with the prefix marked as planned, after the call that writes it. Waits here."""
    turn = _Turn(ask, keeper)
    if turn.undecided is not None:
        wait([turn.undecided], PEEK_S)
        turn.decide()
    while (ahead := turn.ahead()) is not None and not ahead.is_here:
        wait([ahead.ended], turn.patience_s)
    with turn.asking() as planned:
        return turn.learn(client.ask(planned))


async def ask_kept_async(ask: Ask, keeper: Keeper, client: ModelClient) -> Reply:
    """Ask with the prefix marked as planned, after the call that writes it. Lets others run."""
    turn = _Turn(ask, keeper)
    if turn.undecided is not None:
        await wait_for(turn.undecided, PEEK_S)
        turn.decide()
    while (ahead := turn.ahead()) is not None:
        await wait_for(ahead.ended, turn.patience_s)
    with turn.asking() as planned:
        return turn.learn(await client.ask_async(planned))


class _Turn:
    """One call's way to its provider. `undecided`: worth a short wait before `decide`."""

    def __init__(self, ask: Ask, keeper: Keeper) -> None:
        self._ask, self._keeper, self._warmth = ask, keeper, keeper.warmth
        self._call = keeper.call(
            ask.deployment, ask.request, role=ask.role, is_first=ask.attempt == 1
        )
        outlook = keeper.outlook(self._call)
        self._plan, self.undecided = outlook.plan, outlook.undecided
        self._lead: Lead | None = None
        self._began = time.monotonic()

    @property
    def patience_s(self) -> float:
        """How long this call still waits for others."""
        most_s = min(self._plan.most_wait_s, self._ask.timeout_s or self._ask.tier.tier.timeout_s)
        return max(0.0, self._began + most_s - time.monotonic())

    def decide(self) -> None:
        """Plan again: the step's next call was seen, or does not come."""
        self._plan = self._keeper.second_look(self._call)

    def ahead(self) -> Lead | None:
        """Return the call to wait for; None when it is this one's turn, as leader or not."""
        if not self._plan.warm_up or not self.patience_s:
            return None
        leads, lead = self._warmth.board(self._plan.key)
        if leads:
            self._lead = lead
            return None
        return lead

    @contextmanager
    def asking(self) -> Generator[Ask]:
        """Yield the ask as planned. However it ends, nobody waits for it after that."""
        try:
            yield replace(
                self._ask, cache=self._plan, on_chunk=self._on_chunk(), timeout_s=self._left_s()
            )
        finally:
            if self._lead is not None and not self._lead.ended.done():
                self._warmth.let_go(self._plan.key)

    def learn(self, reply: Reply) -> Reply:
        """Take note of what the provider kept, and return its reply."""
        if self._plan.key:
            self._warmth.replied(self._plan, reply.usage)
        return reply

    def _left_s(self) -> float | None:
        given_s = self._ask.timeout_s
        return None if given_s is None else max(0.0, given_s - (time.monotonic() - self._began))

    def _on_chunk(self) -> OnChunk | None:
        on_chunk = self._ask.on_chunk
        if on_chunk is None or self._lead is None:
            return on_chunk
        is_first = True

        def first_then_all(chunk: Chunk) -> None:
            nonlocal is_first
            if is_first:
                is_first = False
                self._warmth.first_token(self._plan)
            on_chunk(chunk)

        return first_then_all
