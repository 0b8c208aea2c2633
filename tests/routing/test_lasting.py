"""Lasting: where the connections of async steps live."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import pytest

from tierflow.routing.lasting import on_lasting_loop

NAME = ContextVar("NAME", default="nobody")


async def where() -> tuple[asyncio.AbstractEventLoop, str]:
    return asyncio.get_running_loop(), NAME.get()


def in_a_thread() -> tuple[asyncio.AbstractEventLoop, str]:
    async def step() -> tuple[asyncio.AbstractEventLoop, str]:
        NAME.set("caller")
        return await on_lasting_loop(where())

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, step()).result()


def test_loops_that_come_and_go_share_one_that_stays() -> None:
    first, second = in_a_thread(), in_a_thread()
    assert first[0] is second[0]
    assert first[0].is_running()


def test_a_coroutine_keeps_its_callers_context() -> None:
    assert in_a_thread()[1] == "caller"


async def test_the_main_threads_loop_borrows_it_too() -> None:
    assert (await on_lasting_loop(where()))[0] is in_a_thread()[0]


def test_cancelling_the_step_reaches_the_call() -> None:
    asked, cancelled = threading.Event(), threading.Event()

    async def call() -> None:
        asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def step() -> None:
        asking = asyncio.ensure_future(on_lasting_loop(call()))
        await asyncio.to_thread(asked.wait, 10)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, step()).result()
    assert cancelled.wait(10)
