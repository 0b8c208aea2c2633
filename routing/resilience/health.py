"""Health: what this process knows of its deployments, and what it hears from other workers.

Breakers are each replica's own; what is usual, and so slow, is a pool's.
A healthy call touches memory only. Transitions are written to the shared place by `publish`;
others' are read at most once a second. Without the place, this process goes by its own.
"""

import threading
import uuid
from collections.abc import Callable, Generator, Hashable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count

from ...errors import AttemptError, StoreError
from ...settings import BreakerSettings, Deployment
from . import breaker as transitions
from .breaker import CLOSED, Breaker
from .latencies import Latencies, Usual
from .shared import ChangeBreaker, SharedStates
from .window import Outcome, Window

_READ_S = 1.0
_LOST_S = 30.0
_LEAST_SLOW_S = 0.2
"""What takes less is never slow: a busy machine adds as much."""


@dataclass(frozen=True, slots=True)
class Condition:
    """How a deployment does. `place`: see Breaker. `to_probe`: it is half-open and untried."""

    wait_s: float
    place: int
    to_probe: bool
    usual: Usual | None


@dataclass(slots=True)
class _Known:
    instance: str
    window: Window
    breaker: Breaker = CLOSED
    news: list[ChangeBreaker] = field(default_factory=list[ChangeBreaker])


class Health:
    """The breakers and usual latencies of one process. Thread-safe.

    `clock`: monotonic seconds. `shared`: where others' transitions come from; None for nowhere.
    `on_lost`: told, once an outage, that the place cannot be used.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        rules: BreakerSettings | None = None,
        shared: SharedStates | None = None,
        on_lost: Callable[[StoreError], None] = lambda _: None,
    ) -> None:
        self._clock, self._rules = clock, rules or BreakerSettings()
        self._shared, self._on_lost = shared, on_lost
        self._known: dict[str, _Known] = {}
        self._ailing: set[str] = set()
        self._latencies = Latencies()
        self._lock = threading.Lock()
        self._read_at: float | None = None
        self._is_lost = False
        self._owner = uuid.uuid4().hex[:12]
        self._probes = count(1)
        self.has_news = False

    @property
    def is_due(self) -> bool:
        """Whether it is time to hear of others."""
        read_at = self._read_at
        return self._shared is not None and (read_at is None or self._clock() >= read_at + _READ_S)

    def conditions(self, deployments: Sequence[Deployment], step: str) -> list[Condition]:
        """Return how deployments do, in their order. Reads the shared place when that is due."""
        if self.is_due:
            self.hear()
        now = self._clock()
        with self._lock:
            return [self._condition(each, step, now) for each in deployments]

    def ailing(self) -> frozenset[str]:
        """Return the instances that there is anything against. Reads memory only."""
        with self._lock:
            return frozenset(self._ailing)

    def begin_probe(self, deployment: Deployment, lease_s: float) -> str:
        """Take the one probe of a half-open breaker; empty if another has it, here or elsewhere."""
        owner = f"{self._owner}-{next(self._probes)}"

        def lease(breaker: Breaker, now: float) -> Breaker:
            return transitions.probing(breaker, now, owner, lease_s)

        if (shared := self._usable()) is not None:
            with self._losing():
                self._tell(shared, deployment.instance, lease)
                return owner if self._owns(deployment, owner) else ""
        with self._lock:
            known = self._of(deployment.instance)
            self._set(known, lease(known.breaker, self._clock()))
        return owner if self._owns(deployment, owner) else ""

    def replied(
        self,
        deployment: Deployment,
        step: str = "",
        took_s: float | None = None,
        *,
        slow_call_s: float | None = None,
        probe: str = "",
    ) -> None:
        """Note a reply, and whether it was slow: by `slow_call_s`, else by what is usual."""
        now, key = self._clock(), (deployment.name, step)
        with self._lock:
            known = self._of(deployment.instance)
            is_slow = took_s is not None and self._is_slow(key, took_s, slow_call_s)
            if took_s is not None:
                self._latencies.add(key, now, took_s)
            if probe and is_slow:
                self._change(known, self._trip(slow=True, probe=probe))
            elif probe or not self._counted(known, "slow" if is_slow else "well"):
                self._change(known, lambda breaker, _: transitions.replied(breaker, probe))

    def failed(self, deployment: Deployment, error: AttemptError, *, probe: str = "") -> None:
        """Note a failure. One that only concerns the request itself is not held against it."""
        with self._lock:
            known = self._of(deployment.instance)
            if not error.counts_against_deployment:
                if probe:
                    # It was there to say so.
                    self._change(known, lambda breaker, _: transitions.replied(breaker, probe))
            elif (wait_s := error.retry_after_s) is not None:
                self._change(
                    known,
                    lambda breaker, now: transitions.told_to_wait(breaker, now, wait_s, probe),
                )
            elif not self._counted(known, "failed"):
                self._change(
                    known,
                    lambda breaker, now: transitions.failed(breaker, now, self._rules, probe),
                )

    def cut_off(
        self,
        deployment: Deployment,
        step: str,
        after_s: float,
        *,
        slow_call_s: float | None = None,
        probe: str = "",
    ) -> None:
        """Note a call that nobody waited for any longer: slow if such a reply would have been."""
        with self._lock:
            known = self._of(deployment.instance)
            if self._is_slow((deployment.name, step), after_s, slow_call_s):
                if probe:
                    self._change(known, self._trip(slow=True, probe=probe))
                else:
                    self._counted(known, "slow")
            elif probe:
                self._change(known, lambda breaker, _: transitions.released(breaker, probe))

    def publish(self) -> None:
        """Write this process's transitions to the shared place. Does nothing without any."""
        if not self.has_news:
            return
        with self._lock:
            self.has_news = False
            news = [(name, known.news) for name, known in self._known.items() if known.news]
            for name, _ in news:
                self._known[name].news = []
        for name, changes in news:
            if (shared := self._usable()) is not None:
                with self._losing():
                    self._tell(shared, name, partial(_all, changes))

    def hear(self) -> None:
        """Read others' transitions."""
        with self._lock:
            if self._shared is None:
                return
            self._read_at = self._clock()
        with self._losing():
            at, breakers = self._shared.read()
            self._is_lost = False
            with self._lock:
                for name, breaker in breakers.items():
                    self._take(name, at, breaker)

    def _condition(self, deployment: Deployment, step: str, now: float) -> Condition:
        usual = self._latencies.usual((deployment.name, step))
        known = self._known.get(deployment.instance)
        if known is None or known.breaker is CLOSED:
            return Condition(0.0, 0, to_probe=False, usual=usual)
        breaker = known.breaker
        return Condition(breaker.wait_s(now), breaker.place(now), breaker.awaits_probe(now), usual)

    def _of(self, name: str) -> _Known:
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = _Known(name, Window(self._rules))
        return known

    def _counted(self, known: _Known, outcome: Outcome) -> bool:
        """Count a call of a closed breaker. Tell whether that opened it."""
        if known.breaker.openings:
            return False
        reason = known.window.add(self._clock(), outcome)
        if reason == "well":
            return False
        self._change(known, self._trip(slow=reason == "slow"))
        return True

    def _trip(self, *, slow: bool, probe: str = "") -> ChangeBreaker:
        return lambda breaker, now: transitions.tripped(
            breaker, now, self._rules, slow=slow, probe=probe
        )

    def _is_slow(self, key: Hashable, took_s: float, slow_call_s: float | None) -> bool:
        if slow_call_s is not None:
            return took_s > slow_call_s
        usual = self._latencies.usual(key)
        return usual is not None and took_s > max(
            _LEAST_SLOW_S, self._rules.slow_factor * usual.median_s
        )

    def _change(self, known: _Known, change: ChangeBreaker) -> None:
        changed = change(known.breaker, self._clock())
        if changed == known.breaker:
            return
        self._set(known, changed)
        if self._shared is not None:
            known.news.append(change)
            self.has_news = True

    def _set(self, known: _Known, breaker: Breaker) -> None:
        if (known.breaker.openings > 0) != (breaker.openings > 0):
            # What was before tells nothing about what comes now.
            known.window.clear()
        known.breaker = breaker
        if breaker == CLOSED:
            self._ailing.discard(known.instance)
        else:
            self._ailing.add(known.instance)

    def _usable(self) -> SharedStates | None:
        """Return the shared place, None during an outage; it is tried again after a while."""
        return None if self._is_lost and not self.is_due else self._shared

    def _tell(self, shared: SharedStates, name: str, change: ChangeBreaker) -> None:
        at, breaker = shared.change_breaker(name, change)
        with self._lock:
            self._take(name, at, breaker)

    def _take(self, name: str, at: float, breaker: Breaker) -> None:
        known, now = self._of(name), self._clock()
        # What was not told yet has happened all the same.
        self._set(known, _all(known.news, breaker.shifted(now - at), now))

    def _owns(self, deployment: Deployment, owner: str) -> bool:
        with self._lock:
            return self._of(deployment.instance).breaker.probe_owner == owner

    @contextmanager
    def _losing(self) -> Generator[None]:
        try:
            yield
        except StoreError as error:
            self._read_at = self._clock() + _LOST_S - _READ_S
            if not self._is_lost:
                self._is_lost = True
                self._on_lost(error)


def _all(changes: Sequence[ChangeBreaker], breaker: Breaker, now: float) -> Breaker:
    for change in changes:
        breaker = change(breaker, now)
    return breaker
