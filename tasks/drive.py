"""Drivers: carry out a plan, waiting in this thread or on the event loop. They decide nothing."""

import asyncio
import inspect
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from ..caching import Later, Once, Shared
from ..routing import Ask, Pause
from ..tracing import Within, span
from .hands import Hands
from .prefix import ask_kept, ask_kept_async
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


def _perform(effect: object, hands: Hands, render: PromptCall) -> Any:  # noqa: PLR0911  # one an effect
    match effect:
        case Ask():
            with hands.watching(effect):
                return ask_kept(effect, hands.keeper, hands.client)
        case Within(name, attributes, plan, describe):
            with span(name, attributes) as opened:
                result = drive(plan, hands, render)
                opened.set_attributes(describe(result))
                return result
        case Once(key, plan):
            flight = hands.flights.board(key)
            if flight is None:
                with hands.flights.leading(key) as leading:
                    leading.result = drive(plan, hands, render)
                    return Shared(leading.result, led=True)
            if flight.is_led_here:
                return Shared(drive(plan, hands, render), led=True)
            return Shared(flight.ended.result(), led=False)
        case Later(key, plan):
            return hands.in_background(key, lambda: drive(plan, hands, render))
        case Pause(seconds):
            return time.sleep(seconds)
        case Render(prompt):
            return render(prompt)
        case _:
            return hands.perform(effect)


async def _perform_async(effect: object, hands: Hands, render: PromptCall) -> Any:  # noqa: PLR0911  # one an effect
    match effect:
        case Ask():
            with hands.watching(effect):
                return await ask_kept_async(effect, hands.keeper, hands.client)
        case Within(name, attributes, plan, describe):
            with span(name, attributes) as opened:
                result = await drive_async(plan, hands, render)
                opened.set_attributes(describe(result))
                return result
        case Once(key, plan):
            flight = hands.flights.board(key)
            if flight is None:
                with hands.flights.leading(key) as leading:
                    leading.result = await drive_async(plan, hands, render)
                    return Shared(leading.result, led=True)
            return Shared(await asyncio.wrap_future(flight.ended), led=False)
        case Later(key, plan):
            return hands.in_background(key, lambda: drive(plan, hands, render))
        case Pause(seconds):
            return await asyncio.sleep(seconds)
        case Render(prompt):
            prompted = render(prompt)
            return await prompted if inspect.isawaitable(prompted) else prompted
        case _ if hands.takes_long(effect):
            return await asyncio.to_thread(hands.perform, effect)
        case _:
            return hands.perform(effect)
