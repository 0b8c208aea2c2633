"""Gate: what this process knows of judges, read every few seconds at most, and adds to that."""

import threading
from collections.abc import Callable

from .calibration import Calibration
from .effects import Audited, Consult, ForReview, Known, TellClosed
from .reviews import Reviews
from .store import Calibrations, Refusal

FRESH_S = 2.0
"""An alarm or a hand that closes a gate is seen after so many seconds by every process."""


class Consulting:
    """A store of calibrations with a short memory, and the queue of reviews. Thread-safe.

    Both are opened on first use. `clock`: monotonic seconds.
    """

    def __init__(
        self,
        open_store: Callable[[], Calibrations],
        open_reviews: Callable[[], Reviews],
        clock: Callable[[], float],
    ) -> None:
        self._open_store, self._open_reviews, self._clock = open_store, open_reviews, clock
        self._store: Calibrations | None = None
        self._reviews: Reviews | None = None
        self._known: dict[str, tuple[float, Known]] = {}
        self._lock = threading.Lock()

    def perform(self, effect: Consult | Audited | ForReview | TellClosed) -> Known | None:
        """Carry out an effect. Raises StoreError."""
        match effect:
            case Consult(gate):
                return self.known(gate)
            case Audited():
                self.audited(effect)
            case ForReview(gate, stratum, at, ask, answer):
                self._queue().put(gate, stratum=stratum, at=at, ask=ask, answer=answer)
            case TellClosed():
                self.refused(effect)
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

    def refused(self, told: TellClosed) -> None:
        """Keep what a step was told. Raises StoreError."""
        # That it is in doubt is over by the next call, and says nothing of what is wrong.
        if told.cause != "in doubt":
            self._opened().refuse(
                Refusal(told.gate, told.cause, told.reason, told.at, told.calibration)
            )

    def add(self, calibration: Calibration) -> None:
        """Keep a calibration, and look again the next time. Raises StoreError."""
        self._opened().add(calibration)
        with self._lock:
            self._known.pop(calibration.step, None)

    def close(self) -> None:
        """Close both; the next use opens them again."""
        if self._store is not None:
            self._store.close()
        if self._reviews is not None:
            self._reviews.close()

    def _opened(self) -> Calibrations:
        with self._lock:
            if self._store is None:
                self._store = self._open_store()
            return self._store

    def _queue(self) -> Reviews:
        with self._lock:
            if self._reviews is None:
                self._reviews = self._open_reviews()
            return self._reviews
