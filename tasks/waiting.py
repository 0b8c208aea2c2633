"""Waiting: for another thread's future on the event loop, and no longer than one likes."""

import asyncio
from concurrent.futures import Future
from typing import Any


async def wait_for(future: Future[Any], timeout_s: float | None) -> bool:
    """Wait until a future is done, and tell whether it is. Leaves it as it is."""
    waiting = asyncio.wrap_future(future)
    try:
        return bool((await asyncio.wait([waiting], timeout=timeout_s))[0])
    finally:
        # Else it would report to this loop when that is closed.
        waiting.cancel()
