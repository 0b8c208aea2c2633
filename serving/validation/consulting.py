"""Policy consulting: what this process knows of policies, looked up every few seconds."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from ...settings import Settings
from .policy import Policy

if TYPE_CHECKING:
    from .store import SqlPolicies

FRESH_S = 5.0
"""A policy that was decided anew is taken up after so many seconds by every process."""


LOST_S = 25.0
"""A store that cannot be read is tried again so much later than one that can."""


class Policies(Protocol):
    """Where policies are kept. All methods raise StoreError."""

    def newest(self, pool: str) -> Policy | None:
        """Return the policy of a pool, None without one."""
        ...

    def close(self) -> None:
        """Close files and connections; the next use opens them again."""
        ...


def open_policies(settings: Settings) -> "SqlPolicies":
    """Return the store of policies that the settings name; it is opened on first use.

    Raises ConfigError for a wrong `store_url`, ImportError for one without psycopg.
    """
    from .store import SqlPolicies  # noqa: PLC0415  # SQLAlchemy takes 0.1 s to import

    return SqlPolicies(settings.store_url or settings.home / "serving.db")


class ConsultingPolicies:
    """A store of policies with a memory. Opened on first use. Thread-safe.

    `clock`: monotonic seconds.
    """

    def __init__(self, open_store: Callable[[], Policies], clock: Callable[[], float]) -> None:
        self._open_store, self._clock = open_store, clock
        self._store: Policies | None = None
        self._known: dict[str, tuple[float, Policy | None]] = {}
        self._lock = threading.Lock()

    def is_due(self, pool: str) -> bool:
        """Tell whether the next `known` reads the store."""
        known = self._known.get(pool)
        return known is None or self._clock() - known[0] >= FRESH_S

    def known(self, pool: str) -> Policy | None:
        """Return a pool's policy, None without one. Raises StoreError."""
        with self._lock:
            if self.is_due(pool):
                _, before = self._known.get(pool, (0.0, None))
                # Should the store be lost, the others need not wait for it, too.
                self._known[pool] = (self._clock() + LOST_S, before)
                if self._store is None:
                    self._store = self._open_store()
                self._known[pool] = (self._clock(), self._store.newest(pool))
            return self._known[pool][1]

    def close(self) -> None:
        """Close the store; the next question opens it again."""
        with self._lock:
            if self._store is not None:
                self._store.close()
