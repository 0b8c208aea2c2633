"""Limits: rpm and tpm of deployments, as token buckets that all workers of a store share.

A process takes a second's worth ahead from the shared bucket, so most calls touch memory only.
What is booked never exceeds the bucket; what a process took ahead and did not use is lost to the
others for ten seconds at most.
"""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ...errors import StoreError
from ...settings import Deployment
from .buckets import Level, Limit
from .shared import SharedStates

_STALE_S = 10.0
_LOST_S = 30.0


@dataclass(slots=True)
class _Purse:
    """What a process holds of one bucket. `level`: the bucket as it was last seen."""

    name: str
    limit: Limit
    held: float = 0.0
    touched: float = 0.0
    level: Level = field(default_factory=Level)


class Limits:
    """The rate limits of one process's deployments. Thread-safe.

    `clock`: monotonic seconds. `shared`: the buckets of all workers; None for our own alone.
    `on_lost`: told, once an outage, that it cannot be used; each process then has the whole limit.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        shared: SharedStates | None = None,
        on_lost: Callable[[StoreError], None] = lambda _: None,
    ) -> None:
        self._clock, self._shared, self._on_lost = clock, shared, on_lost
        self._purses: dict[tuple[str, str], _Purse] = {}
        self._lock = threading.Lock()
        self._booking = threading.Lock()
        self._lost_until = 0.0
        self._is_lost = False

    def wait_s(self, deployment: Deployment, tokens: int) -> float:
        """Return how long a call would have to wait, as far as is known here. Reads no store."""
        if deployment.rpm is None and deployment.tpm is None:
            return 0.0
        now = self._clock()
        with self._lock:
            return max(
                self._expected_s(purse, amount, now)
                for purse, amount in self._asked_of(deployment, tokens)
            )

    def book(self, deployment: Deployment, tokens: int, most_wait_s: float) -> float | None:
        """Book a call. Return how long it has to wait, None if longer than `most_wait_s`."""
        booked: list[tuple[_Purse, float]] = []
        longest = 0.0
        with self._lock:
            asked = self._asked_of(deployment, tokens)
        # One booking at a time: else several threads would each go to the store for a share.
        with self._booking:
            for purse, amount in asked:
                wait_s = self._take(purse, amount, most_wait_s)
                if wait_s is None:
                    for other, taken in booked:
                        self._give_back(other, taken)
                    return None
                booked.append((purse, amount))
                longest = max(longest, wait_s)
        return longest

    def settle(self, deployment: Deployment, reserved: int, used: int) -> None:
        """Put right what a call took: what it did not use of its tokens is given back."""
        if deployment.tpm is not None and reserved != used:
            with self._lock:
                purse = self._purse(deployment, "tpm", deployment.tpm)
            self._give_back(purse, reserved - used)

    def close(self) -> None:
        """Give back what was taken ahead, if the store can be used."""
        with self._lock:
            held = [purse for purse in self._purses.values() if purse.held > 0]
        if (shared := self._shared) is None:
            return
        with self._losing():
            for purse in held:
                amount, purse.held = purse.held, 0.0
                self._change(shared, purse, -amount, 0.0)

    def _asked_of(self, deployment: Deployment, tokens: int) -> list[tuple[_Purse, float]]:
        asked: list[tuple[_Purse, float]] = []
        if deployment.rpm is not None:
            asked.append((self._purse(deployment, "rpm", deployment.rpm), 1.0))
        if deployment.tpm is not None:
            asked.append((self._purse(deployment, "tpm", deployment.tpm), float(tokens)))
        return asked

    def _purse(self, deployment: Deployment, kind: str, per_minute: float) -> _Purse:
        key = (deployment.name, kind)
        if key not in self._purses:
            self._purses[key] = _Purse(f"{deployment.name} {kind}", Limit(per_minute))
        return self._purses[key]

    def _expected_s(self, purse: _Purse, amount: float, now: float) -> float:
        held = self._held(purse, now)
        if held >= amount:
            return 0.0
        return purse.level.wait_s(purse.limit, now, amount - held)

    def _held(self, purse: _Purse, now: float) -> float:
        # Meanwhile the bucket has filled without it. A debt stays.
        return min(purse.held, 0.0) if now - purse.touched > _STALE_S else purse.held

    def _take(self, purse: _Purse, amount: float, most_wait_s: float) -> float | None:
        now = self._clock()
        with self._lock:
            held = self._held(purse, now)
            if held >= amount:
                purse.held, purse.touched = held - amount, now
                return 0.0
            # What is settled meanwhile is added to it.
            purse.held, purse.touched = 0.0, now
        wait_s = None
        try:
            wait_s = self._book(purse, amount - held, most_wait_s)
        finally:
            if wait_s is None:
                self._give_back(purse, held)
        return wait_s

    def _book(self, purse: _Purse, missing: float, most_wait_s: float) -> float | None:
        if (shared := self._shared) is not None and self._clock() >= self._lost_until:
            with self._losing():
                return self._change(shared, purse, missing, most_wait_s)
        now = self._clock()
        with self._lock:
            wait_s = purse.level.wait_s(purse.limit, now, missing)
            if wait_s > most_wait_s:
                return None
            purse.level = purse.level.less(purse.limit, now, missing)
            return wait_s

    def _change(
        self, shared: SharedStates, purse: _Purse, missing: float, most_wait_s: float
    ) -> float | None:
        """Take what is missing from the shared bucket, and some more if there is plenty."""
        wait_s, ahead = 0.0, 0.0
        spare = purse.limit.spare if missing > 0 else 0.0

        def take(level: Level, now: float) -> Level:
            nonlocal wait_s, ahead
            wait_s = level.wait_s(purse.limit, now, missing)
            if wait_s > most_wait_s:
                return level
            ahead = spare if level.filled(purse.limit, now) >= missing + spare else 0.0
            return level.less(purse.limit, now, missing + ahead)

        at, level = shared.change_level(purse.name, take)
        self._is_lost = False
        now = self._clock()
        with self._lock:
            # By this process's clock from now on.
            purse.level = Level(level.balance, level.at + now - at)
            if wait_s > most_wait_s:
                return None
            purse.held += ahead
            purse.touched = now
        return wait_s

    def _give_back(self, purse: _Purse, amount: float) -> None:
        now = self._clock()
        with self._lock:
            purse.held = self._held(purse, now) + amount
            purse.touched = now

    @contextmanager
    def _losing(self) -> Generator[None]:
        try:
            yield
        except StoreError as error:
            self._lost_until = self._clock() + _LOST_S
            if not self._is_lost:
                self._is_lost = True
                self._on_lost(error)
