"""Lines: which of the calls that wait goes next. Pure: knows no time and no thread.

Max-min fair in places: a free one goes to the step that holds the fewest, and among equals to the
one that was served longest ago. What is shared out is what calls use up, a place for as long as
they last, so that a step of long answers gets no more of the deployment than one of short ones,
and a step with five items never waits behind another's ten thousand.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from .lanes import LaneName

Fits: TypeAlias = Callable[[int], bool]
"""Tells whether a call of the prefill lane that reads so many tokens may go now."""


@dataclass(frozen=True, slots=True)
class Waiter:
    """A call that waits. `number`: the order in which calls came. `tokens`: uncached."""

    number: int
    step: str
    tokens: int = 0
    lane: LaneName = "decode"
    batch: int = 0


@dataclass(slots=True)
class _Line:
    """What waits of one step, lane by lane, so that who may not read yet holds up nobody."""

    decode: deque[Waiter] = field(default_factory=deque[Waiter])
    prefill: deque[Waiter] = field(default_factory=deque[Waiter])

    def of(self, waiter: Waiter) -> deque[Waiter]:
        return self.prefill if waiter.lane == "prefill" else self.decode

    def head(self, fits: Fits) -> Waiter | None:
        heads = [self.decode[0]] if self.decode else []
        if self.prefill and fits(self.prefill[0].tokens):
            heads.append(self.prefill[0])
        return min(heads, key=lambda each: each.number, default=None)


class Lines:
    """The lines of one deployment, and how many places each step holds."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}
        self._held: Counter[str] = Counter()
        self._served: dict[str, int] = {}
        self._turn = 0

    def __len__(self) -> int:
        return sum(len(line.decode) + len(line.prefill) for line in self._lines.values())

    def of_batch(self, batch: int) -> list[Waiter]:
        """Return who waits of a batch."""
        lines = (line for each in self._lines.values() for line in (each.decode, each.prefill))
        return [waiter for line in lines for waiter in line if waiter.batch == batch]

    def join(self, waiter: Waiter, *, again: bool = False) -> None:
        """Have a call wait at the end of its line; who has waited before, at its head."""
        line = self._lines.setdefault(waiter.step, _Line()).of(waiter)
        if again:
            line.appendleft(waiter)
        else:
            line.append(waiter)

    def next(self, fits: Fits) -> Waiter | None:
        """Take who goes next off its line, and count its place. None if nobody waits who fits."""
        heads = [head for line in self._lines.values() if (head := line.head(fits)) is not None]
        if not heads:
            return None
        waiter = min(
            heads,
            key=lambda each: (
                self._held[each.step],
                self._served.get(each.step, 0),
                each.number,
            ),
        )
        self.leave(waiter)
        self._turn += 1
        self._served[waiter.step] = self._turn
        self._held[waiter.step] += 1
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Take a call off its line that waits no longer."""
        line = self._lines[waiter.step]
        line.of(waiter).remove(waiter)
        if not line.decode and not line.prefill:
            del self._lines[waiter.step]

    def ended(self, step: str) -> None:
        """Note that a step gave a place back."""
        self._held[step] -= 1
        if self._held[step] <= 0:
            del self._held[step]
