"""Stays: how long replies take, by how many calls were under way. Pure; knows no clock.

By Little's law what comes out in a second is the calls under way over the time that each stays. So
more at once help as long as replies stay less longer than there are more of them; and what stays
longer than it did at as many is held up by others. Long replies and long prompts stay longer by
themselves: replies are compared with what as much work has taken, by a line through those before.
"""

import math
from dataclasses import dataclass, field

from ...request import Usage

_WINDOW = 16
_FADES = 0.75
"""What is left of earlier windows in what is usual, at each new one."""
_LONG = 1.5
"""Netflix's Gradient2 (github.com/Netflix/concurrency-limits) tolerates as much before it cuts."""
_GAIN = 0.1
"""More at once are of use if what comes out grows by this power of them: 7 % for twice as many."""
_APART = 1.4
"""So many times more, at least, are compared with fewer: less is lost in the noise."""
_READ = 0.02
"""What a token that is read takes of one that is written, about, on engines of all sizes."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A reply. `at_once`: how many calls were under way meanwhile."""

    step: str
    at_once: float
    took_s: float
    usage: Usage

    @property
    def work(self) -> float:
        """Tokens written, and what those read anew amount to."""
        read = max(0, self.usage.input_tokens - self.usage.cache_read_tokens)
        return self.usage.output_tokens + _READ * read


@dataclass(frozen=True, slots=True)
class Finding:
    """What a window of replies says.

    `growth`: how many times longer they stayed than is usual at so many at once; 1 where that is
    not known. `enough`: how many at once bring as much; None where as many as now bring more.
    """

    growth: float = 1.0
    enough: float | None = None

    @property
    def is_long(self) -> bool:
        """Whether the replies were held up."""
        return self.growth > _LONG

    @property
    def cut(self) -> float:
        """The gradient: what is left of a limit, at least half."""
        return max(0.5, min(1.0, _LONG / self.growth))


@dataclass(slots=True)
class _Sums:
    """Sums over replies, of which older ones fade."""

    replies: float = 0.0
    took_s: float = 0.0
    work: float = 0.0
    busy: float = 0.0
    work_squared: float = 0.0
    took_by_work: float = 0.0

    def add(self, sample: Sample) -> None:
        self.replies += 1
        self.took_s += sample.took_s
        self.work += sample.work
        self.busy += sample.took_s * sample.at_once
        self.work_squared += sample.work**2
        self.took_by_work += sample.took_s * sample.work

    def take_in(self, newest: "_Sums") -> None:
        for name in self.__slots__:
            setattr(self, name, _FADES * getattr(self, name) + getattr(newest, name))

    @property
    def at_once(self) -> float:
        return self.busy / self.took_s

    def usual_s(self, replies: float, work: float) -> float:
        """Return what so many replies of so much work would have taken: the line of least squares.

        Neither a reply nor a token takes less than nothing.
        """
        mean_s, mean_work = self.took_s / self.replies, self.work / self.replies
        spread = self.work_squared / self.replies - mean_work**2
        slope = 0.0
        if spread > 1e-9 * mean_work**2:
            slope = max(0.0, (self.took_by_work / self.replies - mean_s * mean_work) / spread)
        if slope * mean_work > mean_s:
            return mean_s / mean_work * work
        return (mean_s - slope * mean_work) * replies + slope * work


@dataclass(slots=True)
class _Step:
    """What is known of one step. `usual`: by how many were under way, two bands a doubling."""

    window: _Sums = field(default_factory=_Sums)
    usual: dict[int, _Sums] = field(default_factory=dict[int, _Sums])


class Stays:
    """What is usual, step by step: one that writes a page is not slow because another a word."""

    def __init__(self) -> None:
        self._steps: dict[str, _Step] = {}

    def add(self, sample: Sample) -> Finding | None:
        """Count a reply. Return what the last 16 say (or as many as are under way), None before."""
        step = self._steps.setdefault(sample.step, _Step())
        step.window.add(sample)
        if step.window.replies < max(_WINDOW, sample.at_once) or step.window.took_s <= 0:
            return None
        newest, step.window = step.window, _Sums()
        finding = Finding(_growth(step.usual, newest), _enough(step.usual, newest))
        step.usual.setdefault(_band(newest.at_once), _Sums()).take_in(newest)
        return finding


def _band(at_once: float) -> int:
    return round(2 * math.log2(max(1.0, at_once)))


def _growth(usual: dict[int, _Sums], newest: _Sums) -> float:
    if (before := usual.get(_band(newest.at_once))) is None:
        return 1.0
    # Within a band more at once may stay as much longer.
    more = max(1.0, newest.at_once / before.at_once)
    return _longer(newest, before) / more


def _enough(usual: dict[int, _Sums], newest: _Sums) -> float | None:
    """Return the fewest at once of which it is known that they bring nearly as much."""
    return min(
        (each.at_once for each in usual.values() if _brings_as_much(each, newest)), default=None
    )


def _brings_as_much(fewer: _Sums, newest: _Sums) -> bool:
    more = newest.at_once / fewer.at_once
    return more >= _APART and more / _longer(newest, fewer) < more**_GAIN


def _longer(newest: _Sums, before: _Sums) -> float:
    """Return how many times longer replies stayed than the same work did before."""
    usual_s = before.usual_s(newest.replies, newest.work)
    return newest.took_s / usual_s if usual_s > 0 else 1.0
