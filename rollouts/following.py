"""Following: what this process knows of rollouts, looked up every few seconds."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf

from ..errors import StoreError
from .observations import Observation, PairSeen
from .state import RolloutState
from .store import Rollouts

_LOG = logging.getLogger("tierflow")

FRESH_S = 5.0
"""What somebody changes is known to every process after so many seconds, an abort above all."""


@dataclass(frozen=True, slots=True)
class _Known:
    read: float
    state: RolloutState | None
    is_out: bool = False


class Following:
    """A store of rollouts with a memory of where they stand.

    `clock`: monotonic seconds. Opened on first use. Thread-safe: while one thread looks, others go
    on with what is known.
    """

    def __init__(self, open_store: Callable[[], Rollouts], clock: Callable[[], float]) -> None:
        self._open_store, self._clock = open_store, clock
        self._store: Rollouts | None = None
        self._known: dict[str, _Known] = {}
        self._opening = threading.Lock()
        self._reading = threading.Lock()

    def known(self, rollout: str) -> RolloutState | None:
        """Return where a rollout stands, None where nothing is known of it: the baseline answers.

        While the store is out, it is what was known last.
        """
        known = self._known.get(rollout)
        if known is not None and self._is_fresh(known):
            return known.state
        if not self._reading.acquire(blocking=known is None):
            return known.state if known is not None else None
        try:
            known = self._known.get(rollout)
            if known is None or not self._is_fresh(known):
                known = self._known[rollout] = self._looked_up(rollout, known)
            return known.state
        finally:
            self._reading.release()

    def put(self, state: RolloutState) -> bool:
        """See Rollouts. Raises StoreError. What is known is looked up anew where it lost."""
        with self._reading:
            is_kept = self._opened().put(state)
            if is_kept:
                self._known[state.rollout] = _Known(self._clock(), state)
            elif (known := self._known.get(state.rollout)) is not None:
                self._known[state.rollout] = replace(known, read=-inf)
            return is_kept

    def observe(self, rollout: str, seen: Sequence[Observation]) -> None:
        """See Rollouts. Raises StoreError."""
        self._opened().observe(rollout, seen)

    def pair(self, rollout: str, pair: PairSeen) -> None:
        """See Rollouts. Raises StoreError."""
        self._opened().pair(rollout, pair)

    def score(self, rollout: str, ref: str, evaluation: str, score: float) -> None:
        """See Rollouts. Raises StoreError."""
        self._opened().score(rollout, ref, evaluation, score)

    def close(self) -> None:
        """Close the store; the next use opens it again."""
        with self._opening:
            if self._store is not None:
                self._store.close()

    def _is_fresh(self, known: _Known) -> bool:
        return self._clock() - known.read < FRESH_S

    def _looked_up(self, name: str, known: _Known | None) -> _Known:
        now = self._clock()
        try:
            return _Known(now, self._opened().newest(name))
        except StoreError as error:
            state = None if known is None else known.state
            if known is None or not known.is_out:
                weight = 0.0 if state is None else state.weight
                _LOG.warning("%s Until then %s goes on with weight %g.", error, name, weight)
            # It may have taken long to say so.
            return _Known(self._clock(), state, is_out=True)

    def _opened(self) -> Rollouts:
        with self._opening:
            if self._store is None:
                self._store = self._open_store()
            return self._store
