"""Lasting: an event loop that outlives the steps that borrow it. Knows no provider.

litellm keeps a client for every event loop and closes none. Prefect gives each submitted async
task a loop of its own, so a thousand of them would leave a thousand connections behind.
"""

import asyncio
import os
import threading
from collections.abc import Coroutine
from functools import lru_cache
from typing import Any, TypeVar

T = TypeVar("T")


async def on_lasting_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine where connections can stay open: here, if this is the main thread's loop.

    Elsewhere it runs on one loop of this process, in the caller's context; cancelling reaches it.
    """
    if threading.current_thread() is threading.main_thread():
        return await coroutine
    return await asyncio.wrap_future(
        asyncio.run_coroutine_threadsafe(coroutine, _loop(os.getpid()))
    )


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
