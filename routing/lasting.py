"""Lasting: one event loop that outlives the steps that borrow it. Knows no provider.

litellm keeps clients and a logging worker for an event loop and closes none. Prefect gives each
submitted async task a loop of its own, so a thousand of them would leave a thousand connections
behind, and a worker that is moved between loops loses its tasks.
"""

import asyncio
import os
import threading
from collections.abc import Coroutine
from functools import lru_cache
from typing import Any, TypeVar

T = TypeVar("T")


async def on_lasting_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine where connections can stay open: on this process's one lasting loop.

    It keeps its caller's context, and cancelling the caller reaches it.
    """
    lasting = _loop(os.getpid())
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, lasting))


def wait_on_lasting_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine there from a thread that waits for it. Ctrl-C reaches it, too."""
    running = asyncio.run_coroutine_threadsafe(coroutine, _loop(os.getpid()))
    try:
        return running.result()
    except BaseException:
        running.cancel()
        raise


_STARTING = threading.Lock()


def _loop(pid: int) -> asyncio.AbstractEventLoop:
    with _STARTING:
        return _start(pid)


@lru_cache(maxsize=1)
def _start(_pid: int) -> asyncio.AbstractEventLoop:
    # A forked child has the object but not the thread, so it starts one of its own.
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="tierflow-connections", daemon=True).start()
    return loop
