"""Gate: what this process knows of judges, read from the store every few seconds at most."""

import threading
from collections.abc import Callable

from .calibration import Calibration
from .effects import Audited, Consult, Known
from .store import Calibrations

FRESH_S = 2.0
"""An alarm or a hand that closes a gate is seen after so many seconds by every process."""


class Consulting:
    """A store of calibrations with a short memory, opened on first use. Thread-safe.

    `clock`: monotonic seconds.
    """

    def __init__(self, open_store: Callable[[], Calibrations], clock: Callable[[], float]) -> None:
        self._open_store, self._clock = open_store, clock
        self._store: Calibrations | None = None
        self._known: dict[str, tuple[float, Known]] = {}
        self._lock = threading.Lock()

    def perform(self, effect: Consult | Audited) -> Known | None:
        """Carry out an effect. Raises StoreError."""
        if isinstance(effect, Consult):
            return self.known(effect.gate)
        self.audited(effect)
        return None

    def known(self, gate: str) -> Known:
        """Return what is known of a judge. Raises StoreError."""
        now = self._clock()
        with self._lock:
            read, known = self._known.get(gate, (now - FRESH_S, Known()))
        if now - read < FRESH_S:
            return known
        known = Known(self._opened().newest(gate), self._opened().state(gate))
        with self._lock:
            self._known[gate] = (now, known)
        return known

    def audited(self, audit: Audited) -> None:
        """Keep an audit, and look again the next time. Raises StoreError."""
        self._opened().audit(audit.gate, right=audit.right, at=audit.at, stratum=audit.stratum)
        with self._lock:
            self._known.pop(audit.gate, None)

    def add(self, calibration: Calibration) -> None:
        """Keep a calibration, and look again the next time. Raises StoreError."""
        self._opened().add(calibration)
        with self._lock:
            self._known.pop(calibration.step, None)

    def close(self) -> None:
        """Close the store; the next question opens it again."""
        if self._store is not None:
            self._store.close()

    def _opened(self) -> Calibrations:
        with self._lock:
            if self._store is None:
                self._store = self._open_store()
            return self._store
