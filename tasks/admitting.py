"""Admitting: waits for the seat of a batch's call, here or on the event loop. Decides nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import wait
from typing import Any, TypeVar

from ..routing import Seated
from ..routing.admission import Admissions
from .step import Plan
from .waiting import wait_for

T = TypeVar("T")


def in_seat(effect: Seated, admissions: Admissions, go: Callable[[Plan[Any]], T]) -> T | None:
    """Carry out a plan in a seat. Waits here; None without one."""
    tokens = admissions.uncached(effect) if admissions.must_read(effect) else 0
    waiting = admissions.join(effect, tokens)
    try:
        while not waiting.seated.done():
            if not (patience_s := admissions.patience_s(waiting)):
                return None
            if not wait([waiting.seated], patience_s).done:
                admissions.look(waiting)
        return go(effect.plan(waiting.seated.result()))
    finally:
        admissions.give_up(waiting)


async def in_seat_async(
    effect: Seated, admissions: Admissions, go: Callable[[Plan[Any]], Awaitable[T]]
) -> T | None:
    """Carry out a plan in a seat. Lets others run; None without one."""
    tokens = 0
    if admissions.must_read(effect):
        tokens = await asyncio.to_thread(admissions.uncached, effect)
    waiting = admissions.join(effect, tokens)
    try:
        while not waiting.seated.done():
            if not (patience_s := admissions.patience_s(waiting)):
                return None
            if not await wait_for(waiting.seated, patience_s):
                admissions.look(waiting)
        return await go(effect.plan(waiting.seated.result()))
    finally:
        admissions.give_up(waiting)
