"""Latencies: what a call of one step to one deployment usually takes. Pure; knows no clock."""

from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass, field

_KEPT = 128
_FEW = 20
"""With fewer calls nothing is usual."""
_OLD_S = 600.0
_EVERY = 16
_MOST_KEYS = 512


@dataclass(frozen=True, slots=True)
class Usual:
    """What is usual, in seconds."""

    median_s: float
    p95_s: float


@dataclass(slots=True)
class _Recent:
    calls: deque[tuple[float, float]] = field(
        default_factory=lambda: deque[tuple[float, float]](maxlen=_KEPT)
    )
    since: int = 0
    usual: Usual | None = None


class Latencies:
    """The latest 128 replies of the last ten minutes, by key; of the 512 keys used last.

    Steps are told apart: one that writes a page is not slow because another writes a word.
    """

    def __init__(self) -> None:
        self._recent: OrderedDict[Hashable, _Recent] = OrderedDict()

    def usual(self, key: Hashable) -> Usual | None:
        """Return what such a call usually takes; None if there were less than 20."""
        recent = self._recent.get(key)
        return None if recent is None else recent.usual

    def add(self, key: Hashable, now: float, took_s: float) -> None:
        """Count a reply. What is usual is worked out anew every 16 replies."""
        recent = self._recent.get(key)
        if recent is None:
            recent = self._recent[key] = _Recent()
            if len(self._recent) > _MOST_KEYS:
                self._recent.popitem(last=False)
        self._recent.move_to_end(key)
        recent.calls.append((now, took_s))
        recent.since += 1
        if recent.since >= _EVERY or (recent.usual is None and len(recent.calls) >= _FEW):
            recent.since = 0
            while recent.calls[0][0] < now - _OLD_S:
                recent.calls.popleft()
            recent.usual = _usual([took for _, took in recent.calls])


def _usual(took: list[float]) -> Usual | None:
    if len(took) < _FEW:
        return None
    took.sort()
    return Usual(took[len(took) // 2], took[min(len(took) - 1, len(took) * 95 // 100)])
