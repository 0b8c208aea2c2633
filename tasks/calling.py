"""Calling: one call, or two in a race, and telling how they ended. Decides nothing."""

import asyncio
from dataclasses import replace

from ..request import Chunk, Reply
from ..routing import Ask, Hedge, Raced
from ..routing.lasting import wait_on_lasting_loop
from ..routing.resilience import race
from .hands import Hands
from .prefix import ask_kept, ask_kept_async


def call(effect: Ask | Hedge, hands: Hands) -> Reply | Raced:
    """Ask, and wait here. Raises what the client raises; of a race that is in the Raced."""
    if isinstance(effect, Hedge):
        # Only what runs on an event loop can be cancelled.
        return wait_on_lasting_loop(_race(effect, hands))
    guard = hands.guard
    began = guard.clock()
    try:
        reply = ask_kept(_listening(effect, hands), hands.keeper, hands.client)
    except BaseException as error:
        hands.admissions.failed(effect, error)
        guard.failed(effect, error, guard.clock() - began)
        hands.pools.failed(effect, error)
        raise
    else:
        hands.replied(effect, reply)
        if hands.records(effect):
            hands.record(effect, reply)
        return reply
    finally:
        guard.publish()


async def call_async(effect: Ask | Hedge, hands: Hands) -> Reply | Raced:
    """Do the same without holding up the event loop."""
    if isinstance(effect, Hedge):
        return await _race(effect, hands)
    return await _ask(effect, hands)


async def _ask(ask: Ask, hands: Hands) -> Reply:
    guard = hands.guard
    began = guard.clock()
    try:
        reply = await ask_kept_async(_listening(ask, hands), hands.keeper, hands.client)
    except BaseException as error:
        hands.admissions.failed(ask, error)
        guard.failed(ask, error, guard.clock() - began)
        hands.pools.failed(ask, error)
        raise
    else:
        hands.replied(ask, reply)
        if hands.records(ask):
            # Should this step be cancelled now, it is written down all the same.
            await asyncio.shield(asyncio.to_thread(hands.record, ask, reply))
        return reply
    finally:
        if guard.has_news:
            # As above: the news are told.
            await asyncio.shield(asyncio.to_thread(guard.publish))


def _listening(ask: Ask, hands: Hands) -> Ask:
    """Return an ask whose first token is told to its pool, and to who waits to have much read."""
    on_chunk, is_first = ask.on_chunk, True
    if on_chunk is None or not (ask.admission.seat or ask.placed):
        return ask

    def first_then_all(chunk: Chunk) -> None:
        nonlocal is_first
        if is_first:
            is_first = False
            hands.admissions.began(ask)
            hands.pools.began(ask)
        on_chunk(chunk)

    return replace(ask, on_chunk=first_then_all)


async def _race(hedge: Hedge, hands: Hands) -> Raced:
    guard = hands.guard
    guard.hedging(hedge.first)
    return await race(hedge, lambda ask: _ask(ask, hands), lambda: guard.may_hedge(hedge.first))
