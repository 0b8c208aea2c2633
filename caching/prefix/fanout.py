"""Fan-out: how many calls of a step are still to come, as far as whoever started them knows.

The number travels in the context: Prefect copies it into threads. Where it is lost (processes,
Dask, Ray) the history of the step decides alone.
"""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar


class Fanout:
    """So many calls, counted down as they begin. Thread-safe."""

    def __init__(self, calls: int) -> None:
        self._left = calls
        self._lock = threading.Lock()

    @property
    def left(self) -> int:
        """How many calls have not begun."""
        return self._left

    def begin(self) -> int:
        """Count one call as begun, and return how many are left: those to come after this one."""
        with self._lock:
            self._left = max(0, self._left - 1)
            return self._left


_FANOUT: ContextVar[Fanout | None] = ContextVar("tierflow_fanout", default=None)


@contextmanager
def expecting(calls: int | None) -> Generator[None]:
    """Say that what is started in the block makes `calls` calls; None if that is not known."""
    token = _FANOUT.set(None if calls is None else Fanout(calls))
    try:
        yield
    finally:
        _FANOUT.reset(token)


def current_fanout() -> Fanout | None:
    """Return the fan-out that this call belongs to, None outside of one."""
    return _FANOUT.get()
