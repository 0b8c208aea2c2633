"""Enrolling: what this process knows of rollouts when it answers calls, and its own emergency stop.

After `FAILURES` failures of a candidate in a row it is switched off here, without statistics,
until its rollout moves on.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from .enrolment import Compare, Enrol, Footing, MayShadow, Observe, Pin
from .observations import Observation, PairSeen
from .pins import Pins
from .state import RolloutState

FAILURES = 5
"""So many calls of a candidate that fail one after another switch it off in their process."""


class Followed(Protocol):
    """A store of rollouts with a short memory, see Following."""

    def known(self, rollout: str) -> RolloutState | None:
        """Return where a rollout stands; None if that was never known."""
        ...

    def observe(self, rollout: str, seen: list[Observation]) -> None:
        """Keep what calls showed. Raises StoreError."""
        ...

    def pair(self, rollout: str, pair: PairSeen) -> None:
        """Keep what both arms made of one question. Raises StoreError."""
        ...

    def score(self, rollout: str, ref: str, evaluation: str, score: float) -> None:
        """Keep what was found of an answer. Raises StoreError."""
        ...

    def close(self) -> None:
        """Close the store; the next call opens it again."""
        ...


@dataclass(slots=True)
class _Failing:
    """Failures of a candidate in a row, in the epoch that they were seen in."""

    epoch: int
    in_a_row: int = 0


@dataclass(slots=True)
class _Bucket:
    """A token bucket that holds ten seconds' worth, and one at least."""

    tokens: float
    at: float

    def take(self, rpm: float, now: float) -> bool:
        most = max(1.0, rpm / 6)
        self.tokens, self.at = min(most, self.tokens + (now - self.at) * rpm / 60), now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Enrolling:
    """Carries out the effects of `enrolment`. Thread-safe. `clock`: monotonic seconds."""

    def __init__(self, followed: Followed, pins: Pins, clock: Callable[[], float]) -> None:
        self._followed, self._pins, self._clock = followed, pins, clock
        self._shadows: dict[str, _Bucket] = {}
        self._failing: dict[str, _Failing] = {}
        self._lock = threading.Lock()

    def enrol(self, effect: Enrol) -> Footing | None:
        """Return where a rollout stands for a flow run."""
        state = self._followed.known(effect.rollout)
        if state is None or state.phase == "pending":
            return None
        run, pin = None, Pin.of(state)
        if effect.flow_run_id is not None:
            run, pin = self._pins.pin(effect.rollout, pin, effect.flow_run_id)
        return Footing(state, pin, run, self._is_off(state))

    def observe(self, effect: Observe) -> bool:
        """Keep what a call showed; tell whether its candidate was switched off by it."""
        went_off = self._count(effect.rollout, effect.seen)
        self._followed.observe(effect.rollout, [effect.seen])
        return went_off

    def may_shadow(self, effect: MayShadow) -> bool:
        """Tell whether the candidate may be asked now, as often as that is."""
        with self._lock:
            bucket = self._shadows.setdefault(
                effect.rollout, _Bucket(max(1.0, effect.rpm / 6), self._clock())
            )
            return bucket.take(effect.rpm, self._clock())

    def compare(self, effect: Compare) -> None:
        """Keep a pair. Raises StoreError."""
        self._followed.pair(effect.rollout, effect.pair)

    def score(self, rollout: str, ref: str, evaluation: str, score: float) -> None:
        """Keep what was found of an arm's answer, 0-1, be it days later. Raises StoreError."""
        self._followed.score(rollout, ref, evaluation, score)

    def close(self) -> None:
        """Close the store; the next call opens it again."""
        self._followed.close()

    def _count(self, rollout: str, seen: Observation) -> bool:
        if seen.arm == "baseline":
            return False
        with self._lock:
            failing = self._failing.get(rollout)
            if failing is None or failing.epoch < seen.epoch:
                failing = self._failing[rollout] = _Failing(seen.epoch)
            failing.in_a_row = failing.in_a_row + 1 if seen.failed else 0
            return failing.in_a_row == FAILURES

    def _is_off(self, state: RolloutState) -> bool:
        with self._lock:
            failing = self._failing.get(state.rollout)
            return (
                failing is not None
                and failing.epoch >= state.epoch
                and failing.in_a_row >= FAILURES
            )
