"""Route consulting: what this process knows of learned routes, looked up every few seconds."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .store import Routes

if TYPE_CHECKING:
    from .learned import LearnedRoute

FRESH_S = 2.0
"""A route that was learned anew is taken up after so many seconds by every process."""


@dataclass(frozen=True, slots=True)
class _Known:
    read: float
    id: int | None
    route: "LearnedRoute | None"


class ConsultingRoutes:
    """A store of routes with a memory: a route is read once, and again when there is a newer one.

    `clock`: monotonic seconds. Opened on first use. Thread-safe.
    """

    def __init__(self, open_store: Callable[[], Routes], clock: Callable[[], float]) -> None:
        self._open_store, self._clock = open_store, clock
        self._store: Routes | None = None
        self._known: dict[str, _Known] = {}
        self._lock = threading.Lock()

    def known(self, step: str) -> "LearnedRoute | None":
        """Return a step's newest route, None without one. Raises StoreError."""
        with self._lock:
            now, known = self._clock(), self._known.get(step)
            if known is None or now - known.read >= FRESH_S:
                store = self._opened()
                newest = store.newest_id(step)
                is_same = known is not None and known.id == newest
                route = known.route if known is not None and is_same else store.newest(step)
                known = self._known[step] = _Known(now, newest, route)
            return known.route

    def add(self, route: "LearnedRoute") -> None:
        """Keep a route, and look again the next time. Raises StoreError."""
        with self._lock:
            self._opened().add(route)
            self._known.pop(route.step, None)

    def close(self) -> None:
        """Close the store; the next question opens it again."""
        with self._lock:
            if self._store is not None:
                self._store.close()

    def _opened(self) -> Routes:
        if self._store is None:
            self._store = self._open_store()
        return self._store
