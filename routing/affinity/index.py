"""BlockIndex: which replicas of a pool hold which blocks.

Replicas are slots, 0 and up, and sets of them are ints with a bit for each: what a chain costs to
look up depends on its length, and hardly on how many replicas there are.
"""

from typing import NamedTuple

from .blocks import BlockChain
from .holdings import Guessed, Holding, Told


class Level(NamedTuple):
    """Replicas that hold the first `depth` blocks of a chain and no more. `slots`: a bit each."""

    depth: int
    slots: int


class BlockIndex:
    """Blocks and their holders. `blocks_per_slot`: how many are guessed of a slot at the most."""

    def __init__(self, blocks_per_slot: int) -> None:
        self._most = blocks_per_slot
        self._holders: dict[int, int] = {}
        self._of: dict[int, Guessed | Told] = {}

    def __len__(self) -> int:
        return len(self._holders)

    def of(self, slot: int) -> Holding:
        """Return what a slot holds: guessed by what is sent to it until it is `told`."""
        holding = self._of.get(slot)
        if holding is None:
            holding = self._of[slot] = Guessed(self._holders, slot, self._most)
        return holding

    def told(self, slot: int) -> Told:
        """Return what a slot's events say that it holds. From the first on only they count."""
        holding = self._of.get(slot)
        if isinstance(holding, Told):
            return holding
        self.forget(slot)
        told = self._of[slot] = Told(self._holders, slot)
        return told

    def forget(self, slot: int) -> None:
        """Forget all of a slot, which may then be another replica's."""
        if (holding := self._of.pop(slot, None)) is not None:
            holding.forget()

    def holders(self, block: int) -> int:
        """Return the slots that hold a block, or that it is on its way to, a bit each."""
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
