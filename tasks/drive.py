"""Drivers: carry out a plan, waiting in this thread or on the event loop. They decide nothing."""

import asyncio
import inspect
import math
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import wait
from functools import partial
from typing import Any, TypeVar

from ..caching import Later, Once, Shared
from ..routing import Ask, Foreign, Hedge, Pause, Place, Seated
from ..tracing import Within, span
from .admitting import in_seat, in_seat_async
from .calling import call, call_async
from .hands import Hands
from .spec import Render
from .step import Plan

T = TypeVar("T")
PromptCall = Callable[[Callable[..., Any] | None], Any]
"""Calls a prompt function (None: the step's own) with the step's arguments."""


def drive(plan: Plan[T], hands: Hands, render: PromptCall) -> T:
    """Carry a plan out to its end and return its result."""
    go: Callable[[], Any] = partial(next, plan)
    while True:
        try:
            effect = go()
        except StopIteration as done:
            result: T = done.value
            return result
        try:
            go = partial(plan.send, _perform(effect, hands, render))
        except BaseException as exc:  # noqa: BLE001  # the plan decides what it means, and accounts
            go = partial(plan.throw, exc)


async def drive_async(plan: Plan[T], hands: Hands, render: PromptCall) -> T:
    """Carry a plan out to its end without holding up the event loop."""
    go: Callable[[], Any] = partial(next, plan)
    while True:
        try:
            effect = go()
        except StopIteration as done:
            result: T = done.value
            return result
        try:
            go = partial(plan.send, await _perform_async(effect, hands, render))
        except BaseException as exc:  # noqa: BLE001  # the plan decides what it means, and accounts
            go = partial(plan.throw, exc)


def _perform(effect: object, hands: Hands, render: PromptCall) -> Any:  # noqa: C901, PLR0911  # one an effect
    match effect:
        case Ask() | Hedge():
            return call(effect, hands)
        case Seated():
            return in_seat(effect, hands.admissions, lambda plan: drive(plan, hands, render))
        case Within(name, attributes, plan, describe):
            with span(name, attributes) as opened:
                result = drive(plan, hands, render)
                opened.set_attributes(describe(result))
                return result
        case Once(key, plan, most_wait_s):
            flight = hands.flights.board(key)
            if flight is None:
                with hands.flights.leading(key) as leading:
                    leading.result = drive(plan, hands, render)
                    return Shared(leading.result, led=True)
            if flight.is_led_here or not wait([flight.ended], _limit(most_wait_s)).done:
                return Shared(drive(plan, hands, render), led=True)
            return Shared(flight.ended.result(), led=False)
        case Later(key, plan):
            return hands.in_background(key, lambda: drive(plan, hands, render))
        case Pause(seconds):
            return time.sleep(seconds)
        case Foreign(work):
            return work(lambda plan: drive(plan, hands, render))
        case Render(prompt):
            prompted = render(prompt)
            # In the background an async prompt function has a loop of its own.
            return asyncio.run(_awaited(prompted)) if inspect.isawaitable(prompted) else prompted
        case _:
            return hands.perform(effect)


async def _awaited(prompted: Awaitable[T]) -> T:
    return await prompted


def _limit(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) else None


async def _placed(place: Place, hands: Hands) -> Any:
    """Have a replica chosen in a thread. Should nobody want it any more, it is given back."""
    placing = asyncio.ensure_future(asyncio.to_thread(hands.perform, place))
    try:
        return await asyncio.shield(placing)
    except asyncio.CancelledError:
        placing.add_done_callback(lambda done: hands.pools.give_back(_result(done)))
        raise


def _result(done: "asyncio.Future[Any]") -> Any:
    return None if done.cancelled() or done.exception() is not None else done.result()


async def _perform_async(effect: object, hands: Hands, render: PromptCall) -> Any:  # noqa: C901, PLR0911, PLR0912  # one an effect
    match effect:
        case Ask() | Hedge():
            return await call_async(effect, hands)
        case Seated():
            return await in_seat_async(
                effect, hands.admissions, lambda plan: drive_async(plan, hands, render)
            )
        case Within(name, attributes, plan, describe):
            with span(name, attributes) as opened:
                result = await drive_async(plan, hands, render)
                opened.set_attributes(describe(result))
                return result
        case Once(key, plan, most_wait_s):
            flight = hands.flights.board(key)
            if flight is None:
                with hands.flights.leading(key) as leading:
                    leading.result = await drive_async(plan, hands, render)
                    return Shared(leading.result, led=True)
            waiting = asyncio.wrap_future(flight.ended)
            try:
                await asyncio.wait([waiting], timeout=_limit(most_wait_s))
                if waiting.done():
                    return Shared(waiting.result(), led=False)
            finally:
                # Else it would report to this loop when that is closed.
                waiting.cancel()
            return Shared(await drive_async(plan, hands, render), led=True)
        case Later(key, plan):
            return hands.in_background(key, lambda: drive(plan, hands, render))
        case Pause(seconds):
            return await asyncio.sleep(seconds)
        case Foreign(work):
            return await asyncio.to_thread(work, lambda plan: drive(plan, hands, render))
        case Render(prompt):
            prompted = render(prompt)
            return await prompted if inspect.isawaitable(prompted) else prompted
        case Place() if hands.takes_long(effect):
            return await _placed(effect, hands)
        case _ if hands.takes_long(effect):
            return await asyncio.to_thread(hands.perform, effect)
        case _:
            return hands.perform(effect)
