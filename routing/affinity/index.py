"""BlockIndex: which replicas hold which blocks. Approximate, or told by an engine's events.

Replicas are slots, 0 and up, and sets of them are ints with a bit for each: what a chain costs to
look up depends on its length, and hardly on how many replicas there are.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from .blocks import BlockChain


class Level(NamedTuple):
    """Replicas that hold the first `depth` blocks of a chain and no more. `slots`: a bit each."""

    depth: int
    slots: int


_SURE_PART = 4
"""The newest quarter of what was sent is surely there; the index is that much larger."""


class BlockIndex:
    """Blocks and their holders.

    A slot is approximate until events tell of it: then it is thought to hold the newest
    `blocks_per_slot` of what was sent to it, and surely the newest quarter. After that it holds
    what events say, and what is on its way.
    """

    def __init__(self, blocks_per_slot: int) -> None:
        self._sure_most = max(1, blocks_per_slot // _SURE_PART)
        self._most = blocks_per_slot
        self._holders: dict[int, int] = {}
        # Of approximate slots the block that was not sent for longest is first. Beside each stands
        # after how many arrivals it was read last; 0: it is on its way.
        self._held: dict[int, OrderedDict[int, int]] = {}
        self._doubtful: dict[int, OrderedDict[int, int]] = {}
        self._arrivals = 0
        # Of precise slots: how many requests under way bring a block.
        self._coming: dict[int, dict[int, int]] = {}

    def __len__(self) -> int:
        return len(self._holders)

    def held(self, slot: int) -> int:
        """Return how many blocks a slot holds."""
        return len(self._held.get(slot, ())) + len(self._doubtful.get(slot, ()))

    def holders(self, block: int) -> int:
        """Return the slots that hold a block, a bit each."""
        return self._holders.get(block, 0)

    def levels(self, chain: BlockChain, among: int) -> list[Level]:
        """Part the slots `among` by how much of a chain they hold, the least first."""
        found: list[Level] = []
        level, depth, holders = among, 0, self._holders
        for block in chain.hashes:
            deeper = holders.get(block, 0) & level
            if deeper != level:
                found.append(Level(depth, level ^ deeper))
                level = deeper
                if not level:
                    return found
            depth += 1
        found.append(Level(depth, level))
        return found

    def sure(self, slot: int, chain: BlockChain, depth: int) -> int:
        """Return how many of the first `depth` blocks of a chain a slot surely holds."""
        doubtful = self._doubtful.get(slot)
        if not doubtful:
            return depth
        for number, block in enumerate(chain.hashes[:depth]):
            if block in doubtful:
                return number
        return depth

    def sent(self, slot: int, blocks: tuple[int, ...]) -> None:
        """Expect a slot to hold these from now on."""
        coming = self._coming.get(slot)
        if coming is None:
            self._touch(slot, blocks)
            return
        bit, held = 1 << slot, self._held.setdefault(slot, OrderedDict())
        for block in blocks:
            if block in held:
                continue
            coming[block] = coming.get(block, 0) + 1
            self._holders[block] = self._holders.get(block, 0) | bit

    def arrived(self, slot: int, blocks: tuple[int, ...]) -> None:
        """Take it that a slot has read them: an engine starts to forget them from now on."""
        if slot in self._coming:
            self._no_longer_coming(slot, blocks)
        else:
            self._arrivals += 1
            self._touch(slot, blocks, self._arrivals)

    def arrival(self, slot: int, block: int) -> int:
        """Return when an approximate slot read a block last, as a number that grows; 0: never."""
        if slot in self._coming:
            return 0
        return next((part[block] for part in self._parts(slot) if block in part), 0)

    def missed(self, slot: int, arrival: int) -> None:
        """Take it that an approximate slot lost a block of that arrival, and so all that is older.

        That is what an engine does that is full; one that started anew has lost the newer ones too.
        """
        for part in self._parts(slot) if slot not in self._coming else ():
            while part and next(iter(part.values())) <= arrival:
                block, _ = part.popitem(last=False)
                self._clear_bit(slot, block)

    def lost(self, slot: int, blocks: tuple[int, ...], new: int) -> None:
        """Take back `sent`. Approximate slots lose the blocks from `new` on, which it added."""
        if slot in self._coming:
            self._no_longer_coming(slot, blocks)
            return
        for part in self._parts(slot):
            for block in blocks[new:]:
                if part.pop(block, None) is not None:
                    self._clear_bit(slot, block)

    def stored(self, slot: int, blocks: Iterable[int]) -> None:
        """Note by an event that a slot holds these. From the first one on only events count."""
        self._be_precise(slot)
        held, bit, coming = (
            self._held.setdefault(slot, OrderedDict()),
            1 << slot,
            self._coming[slot],
        )
        for block in blocks:
            held[block] = 0
            coming.pop(block, None)
            self._holders[block] = self._holders.get(block, 0) | bit

    def removed(self, slot: int, blocks: Iterable[int]) -> None:
        """Note by an event that a slot holds these no longer."""
        self._be_precise(slot)
        held, coming = self._held.setdefault(slot, OrderedDict()), self._coming[slot]
        for block in blocks:
            held.pop(block, None)
            if block not in coming:
                self._clear_bit(slot, block)

    def cleared(self, slot: int) -> None:
        """Note by an event that a slot holds nothing. What is on its way there still comes."""
        self._be_precise(slot)
        for block in self._held.pop(slot, ()):
            if block not in self._coming[slot]:
                self._clear_bit(slot, block)

    def forget(self, slot: int) -> None:
        """Forget all of a slot, which may then be another replica's."""
        for part in (self._held, self._doubtful, self._coming):
            for block in part.pop(slot, ()):
                self._clear_bit(slot, block)

    def _parts(self, slot: int) -> list[OrderedDict[int, int]]:
        return [part[slot] for part in (self._doubtful, self._held) if slot in part]

    def _touch(self, slot: int, blocks: tuple[int, ...], arrival: int = 0) -> None:
        held = self._held.setdefault(slot, OrderedDict())
        doubtful = self._doubtful.setdefault(slot, OrderedDict())
        holders, bit = self._holders, 1 << slot
        # Backwards, as engines do it: without its beginning the end of a prompt is of no use.
        for block in reversed(blocks):
            if block in held:
                held.move_to_end(block)
                if arrival:
                    held[block] = arrival
            elif doubtful and block in doubtful:
                before = doubtful.pop(block)
                held[block] = arrival or before
            else:
                held[block] = arrival
                holders[block] = holders.get(block, 0) | bit
        while len(held) > self._sure_most:
            block, before = held.popitem(last=False)
            doubtful[block] = before
        while len(held) + len(doubtful) > self._most:
            block, _ = (doubtful or held).popitem(last=False)
            self._clear_bit(slot, block)

    def _be_precise(self, slot: int) -> None:
        if slot not in self._coming:
            self.forget(slot)
            self._coming[slot] = {}

    def _no_longer_coming(self, slot: int, blocks: tuple[int, ...]) -> None:
        coming, held = self._coming[slot], self._held.setdefault(slot, OrderedDict())
        for block in blocks:
            left = coming.get(block, 0) - 1
            if left > 0:
                coming[block] = left
            elif coming.pop(block, None) is not None and block not in held:
                self._clear_bit(slot, block)

    def _clear_bit(self, slot: int, block: int) -> None:
        left = self._holders.get(block, 0) & ~(1 << slot)
        if left:
            self._holders[block] = left
        else:
            self._holders.pop(block, None)
