"""Slots: sets of replicas as ints with a bit for each, and who of them comes first. Pure."""

from collections.abc import Iterator, Sequence

from .blocks import ROOT, next_hash

_WORD = (1 << 64) - 1
_ODD = 0x9E3779B97F4A7C15
_MOST_COMPARED = 32
_GROUP_SEEDS = [next_hash(ROOT, bytes([group])) for group in range(32)]


def bits(slots: int) -> Iterator[int]:
    """Yield the slots of a set, the lowest first."""
    while slots:
        lowest = slots & -slots
        yield lowest.bit_length() - 1
        slots ^= lowest


class Ranking:
    """Rendezvous hashing: for each key another order of the slots, the same in every process.

    It depends on names alone, so it changes little when some come or go. Source: Thaler and
    Ravishankar, 1998. Of many the order of their groups goes before, so that not all are looked at.
    """

    def __init__(self) -> None:
        self._seeds: list[int] = []
        self._groups = [0] * len(_GROUP_SEEDS)

    def join(self, slot: int, name: str) -> None:
        """Rank a slot by a name."""
        self._seeds += [0] * (slot + 1 - len(self._seeds))
        self._seeds[slot] = next_hash(ROOT, name.encode())
        self._groups[self._seeds[slot] % len(self._groups)] |= 1 << slot

    def leave(self, slot: int) -> None:
        """Rank a slot no longer."""
        self._groups[self._seeds[slot] % len(self._groups)] &= ~(1 << slot)

    def first(self, slots: int, key: int) -> int:
        """Return the first of slots, at least one, for a key of 64 bits."""
        if slots.bit_count() > _MOST_COMPARED:
            filled = sum(1 << number for number, some in enumerate(self._groups) if slots & some)
            slots &= self._groups[_first(filled, key, _GROUP_SEEDS)]
        return _first(slots, key, self._seeds)


def _first(slots: int, key: int, seeds: Sequence[int]) -> int:
    first, highest = 0, -1
    while slots:
        slot = (slots & -slots).bit_length() - 1
        slots &= slots - 1
        # The high bits of the product depend on all bits of both.
        score = (seeds[slot] ^ key) * _ODD & _WORD
        if score > highest:
            first, highest = slot, score
    return first
