"""Busy: which replicas are reading, and until when. Pure; slots are sets with a bit for each."""

from bisect import bisect_left, insort
from collections.abc import Iterator
from math import inf

from .slots import bits

_FEW = 4
"""Of so many that hold equally much each is looked at, of more only the least busy."""


class Busy:
    """When each slot will have read what it was sent, in seconds of the fleet's clock."""

    def __init__(self) -> None:
        self._idle = 0
        self._until: dict[int, float] = {}
        # (until, slot) of those that read, the first to be done first.
        self._line: list[tuple[float, int]] = []

    def set(self, slot: int, until: float, now: float) -> None:
        """Have a slot be busy until then."""
        self.leave(slot)
        if until > now:
            self._until[slot] = until
            insort(self._line, (until, slot))
        else:
            self._idle |= 1 << slot

    def leave(self, slot: int) -> None:
        """Know nothing of a slot."""
        self._idle &= ~(1 << slot)
        if (until := self._until.pop(slot, None)) is not None:
            del self._line[bisect_left(self._line, (until, slot))]

    def settle(self, now: float) -> None:
        """Have those that are done by now be idle."""
        done = bisect_left(self._line, (now, -1))
        for _, slot in self._line[:done]:
            del self._until[slot]
            self._idle |= 1 << slot
        del self._line[:done]

    def wait_s(self, slot: int, now: float) -> float:
        """Return how long a slot is busy."""
        return max(0.0, self._until.get(slot, -inf) - now)

    def candidates(self, slots: int, now: float) -> Iterator[tuple[int, float]]:
        """Yield those of equal slots that may be the best, and how long they are busy."""
        if slots.bit_count() <= _FEW:
            for slot in bits(slots):
                yield 1 << slot, self.wait_s(slot, now)
        elif idle := slots & self._idle:
            yield idle, 0.0
        else:
            until, slot = self._first_done(slots)
            yield 1 << slot, until - now

    def _first_done(self, slots: int) -> tuple[float, int]:
        """Return the least busy of slots that are all busy: by them or by the line."""
        count = slots.bit_count()
        if count * count <= len(self._line):
            return min((self._until[slot], slot) for slot in bits(slots))
        return next(each for each in self._line if slots >> each[1] & 1)
