"""History: how often this process saw each prefix of late. Counts decay; nothing is stored."""

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from .planner import Reuse

_SHORT_S, _LONG_S = 300.0, 3600.0
_MOST_PREFIXES = 10_000
_NOTHING = 0.05
"""A decayed count below this is as good as none."""


@dataclass(slots=True)
class _Count:
    """Events of late: each counts 1 when it comes, and 1/e after the short or the long time."""

    short: float = 0.0
    long: float = 0.0
    at: float = 0.0

    def decay(self, now: float) -> None:
        passed_s, self.at = max(0.0, now - self.at), now
        self.short *= math.exp(-passed_s / _SHORT_S)
        self.long *= math.exp(-passed_s / _LONG_S)

    def add(self) -> None:
        self.short += 1
        self.long += 1

    @property
    def gap_s(self) -> float:
        """Seconds between events; the shorter of two estimates, so that a burst is seen early."""
        gaps = (_SHORT_S / self.short if self.short else math.inf,)
        return min(*gaps, _LONG_S / self.long if self.long else math.inf)


@dataclass(slots=True)
class _Group:
    """One step's calls. `firsts`: those whose prefix was new. `next`: ends with the next call."""

    calls: _Count = field(default_factory=_Count)
    firsts: _Count = field(default_factory=_Count)
    next: Future[None] = field(default_factory=Future[None])


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen before this call, decayed over an hour.

    `same`: calls with this very prefix; `calls`: of the step with any; `firsts`: of those, with a
    prefix that was new. `gap_s`: seconds between calls with this prefix, else of the step.
    """

    same: float
    calls: float
    firsts: float
    gap_s: float

    @property
    def is_none(self) -> bool:
        """Whether neither the step nor the prefix was seen at all."""
        return self.calls < _NOTHING and self.same < _NOTHING

    def reuse(self, left: int | None) -> Reuse:
        """Return how many further calls with this prefix are expected.

        `left`: calls of a fan-out that are still to come; None outside of one. Of a prefix that
        was seen, they have the share that the calls so far had, and outside of a fan-out the
        next hour is like the last. Of a new one, as many as of a prefix on average.
        """
        if self.is_none:
            return Reuse(0.0)
        if self.same >= _NOTHING:
            # Other steps may share the prefix, so it may have been seen oftener than this step.
            ahead = 0.0 if left is None else left * self.same / max(self.same, self.calls)
            return Reuse(ahead) if ahead > self.same else Reuse(self.same, self.gap_s)
        further = max(0.0, self.calls / self.firsts - 1) if self.firsts >= _NOTHING else 0.0
        return Reuse(min(further, left)) if left is not None else Reuse(further, self.gap_s)


@dataclass(frozen=True, slots=True)
class Sight:
    """A call as it was seen: the evidence for each of its prefixes, and the step's next call."""

    evidence: tuple[Evidence, ...]
    next: Future[None]


class History:
    """What was seen in this process. Thread-safe. `clock`: monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._prefixes: OrderedDict[str, _Count] = OrderedDict()
        self._groups: OrderedDict[str, _Group] = OrderedDict()
        self._lock = threading.Lock()

    def see(self, group: str, keys: Sequence[str]) -> Sight:
        """Return what was seen before, and count this call. `keys`: its prefixes' hashes."""
        now = self._clock()
        with self._lock:
            sight = self._look(group, keys, now, own=0)
            for place, key in enumerate(keys):
                kept = self._groups[f"{group}/{place}"]
                same = self._prefixes[key]
                if same.long < _NOTHING:
                    kept.firsts.add()
                kept.calls.add()
                same.add()
                kept.next.set_result(None)
                kept.next = _under_way()
            _trim(self._prefixes)
            _trim(self._groups)
            last = self._groups.get(f"{group}/{len(keys) - 1}")
            return Sight(sight, last.next if last else _under_way())

    def look_again(self, group: str, keys: Sequence[str]) -> tuple[Evidence, ...]:
        """Return what was seen besides this call, which was counted a moment ago."""
        with self._lock:
            return self._look(group, keys, self._clock(), own=1)

    def _look(
        self, group: str, keys: Sequence[str], now: float, *, own: int
    ) -> tuple[Evidence, ...]:
        return tuple(
            self._evidence(f"{group}/{place}", key, now, own) for place, key in enumerate(keys)
        )

    def _evidence(self, group: str, key: str, now: float, own: int) -> Evidence:
        same = self._prefixes.setdefault(key, _Count(at=now))
        kept = self._groups.setdefault(group, _Group(next=_under_way()))
        self._prefixes.move_to_end(key)
        self._groups.move_to_end(group)
        for count in (same, kept.calls, kept.firsts):
            count.decay(now)
        seen = same.long - own
        return Evidence(
            same=max(0.0, seen),
            calls=max(0.0, kept.calls.long - own),
            # A call that was the first of its prefix is none of the others' firsts.
            firsts=max(0.0, kept.firsts.long - (own if seen < _NOTHING else 0)),
            gap_s=(same if seen >= _NOTHING else kept.calls).gap_s,
        )


def _under_way() -> Future[None]:
    future: Future[None] = Future()
    # So that nobody who waits can cancel it for the others.
    future.set_running_or_notify_cancel()
    return future


def _trim(held: OrderedDict[str, _Count] | OrderedDict[str, _Group]) -> None:
    while len(held) > _MOST_PREFIXES:
        held.popitem(last=False)
