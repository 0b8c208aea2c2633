"""Holdings: what a replica holds, by either source of truth: what was sent to it, or its events.

Both put a bit into `holders` (block hash -> the replicas that hold it, a bit each) for each block
that theirs comes to hold, and take it back with the last of them. See Holding.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Protocol

from .blocks import BlockChain

_SURE_PART = 4
"""The newest quarter of what was sent is surely there; the index is that much larger."""


class Holding(Protocol):
    """A source of truth about one replica. Blocks are hashes as in BlockChain."""

    def __len__(self) -> int:
        """Return how many blocks it holds; what is on its way does not count."""
        ...

    def sent(self, blocks: tuple[int, ...]) -> None:
        """Expect it to hold these from now on."""
        ...

    def arrived(self, blocks: tuple[int, ...]) -> None:
        """Take it that it has read them: an engine starts to forget them from now on."""
        ...

    def lost(self, blocks: tuple[int, ...], new: int) -> None:
        """Take back `sent`, which added the blocks from number `new` on."""
        ...

    def sure(self, chain: BlockChain, depth: int) -> int:
        """Return how many of the first `depth` blocks of a chain, all held, it surely holds."""
        ...

    def arrival(self, block: int) -> int:
        """Return when it read a block last, as a number that grows; 0: unknown, or never."""
        ...

    def missed(self, arrival: int) -> None:
        """Take it that a block of that arrival is gone, although it was thought to be held."""
        ...

    def forget(self) -> None:
        """Hold nothing."""
        ...


class Guessed:
    """A Holding by what was sent: the newest `most` blocks, and surely the newest quarter."""

    def __init__(self, holders: dict[int, int], slot: int, most: int) -> None:
        self._holders, self._bit = holders, 1 << slot
        self._sure_most, self._most = max(1, most // _SURE_PART), most
        # The block that was not sent for longest is first. Beside each stands after how many
        # arrivals it was read last; 0: it is on its way.
        self._held: OrderedDict[int, int] = OrderedDict()
        self._doubtful: OrderedDict[int, int] = OrderedDict()
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._held) + len(self._doubtful)

    def sent(self, blocks: tuple[int, ...]) -> None:
        """See Holding."""
        self._touch(blocks, 0)

    def arrived(self, blocks: tuple[int, ...]) -> None:
        """See Holding."""
        self._arrivals += 1
        self._touch(blocks, self._arrivals)

    def lost(self, blocks: tuple[int, ...], new: int) -> None:
        """See Holding."""
        for part in (self._doubtful, self._held):
            for block in blocks[new:]:
                if part.pop(block, None) is not None:
                    _take(self._holders, block, self._bit)

    def sure(self, chain: BlockChain, depth: int) -> int:
        """See Holding."""
        doubtful = self._doubtful
        if doubtful:
            for number, block in enumerate(chain.hashes[:depth]):
                if block in doubtful:
                    return number
        return depth

    def arrival(self, block: int) -> int:
        """See Holding."""
        return self._held.get(block) or self._doubtful.get(block, 0)

    def missed(self, arrival: int) -> None:
        """See Holding. With a block goes all that is older: that is what a full engine does.

        One that started anew has lost the newer ones too, and says so as these are asked for.
        """
        for part in (self._doubtful, self._held):
            while part and next(iter(part.values())) <= arrival:
                block, _ = part.popitem(last=False)
                _take(self._holders, block, self._bit)

    def forget(self) -> None:
        """See Holding."""
        for part in (self._held, self._doubtful):
            for block in part:
                _take(self._holders, block, self._bit)
            part.clear()

    def _touch(self, blocks: tuple[int, ...], arrival: int) -> None:
        held, doubtful, holders = self._held, self._doubtful, self._holders
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
                holders[block] = holders.get(block, 0) | self._bit
        while len(held) > self._sure_most:
            block, before = held.popitem(last=False)
            doubtful[block] = before
        while len(held) + len(doubtful) > self._most:
            block, _ = (doubtful or held).popitem(last=False)
            _take(holders, block, self._bit)


class Told:
    """A Holding by an engine's events: what they say, and what is on its way. It has no bound."""

    def __init__(self, holders: dict[int, int], slot: int) -> None:
        self._holders, self._bit = holders, 1 << slot
        self._held: set[int] = set()
        # How many requests under way bring a block.
        self._coming: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._held)

    def sent(self, blocks: tuple[int, ...]) -> None:
        """See Holding."""
        for block in blocks:
            if block not in self._held:
                self._coming[block] = self._coming.get(block, 0) + 1
                self._holders[block] = self._holders.get(block, 0) | self._bit

    def arrived(self, blocks: tuple[int, ...]) -> None:
        """See Holding. Its events tell whether it holds them."""
        for block in blocks:
            left = self._coming.get(block, 0) - 1
            if left > 0:
                self._coming[block] = left
            elif self._coming.pop(block, None) is not None and block not in self._held:
                _take(self._holders, block, self._bit)

    def lost(self, blocks: tuple[int, ...], new: int) -> None:
        """See Holding."""
        del new
        self.arrived(blocks)

    def sure(self, chain: BlockChain, depth: int) -> int:
        """See Holding."""
        del chain
        return depth

    def arrival(self, block: int) -> int:
        """See Holding."""
        del block
        return 0

    def missed(self, arrival: int) -> None:
        """See Holding. Its events say what is gone."""

    def forget(self) -> None:
        """See Holding."""
        for block in self._held | self._coming.keys():
            _take(self._holders, block, self._bit)
        self._held.clear()
        self._coming.clear()

    def stored(self, blocks: Iterable[int]) -> None:
        """Note that it holds these."""
        for block in blocks:
            self._held.add(block)
            self._coming.pop(block, None)
            self._holders[block] = self._holders.get(block, 0) | self._bit

    def removed(self, blocks: Iterable[int]) -> None:
        """Note that it holds these no longer. What is on its way still comes."""
        for block in blocks:
            self._held.discard(block)
            if block not in self._coming:
                _take(self._holders, block, self._bit)

    def cleared(self) -> None:
        """Note that it holds nothing. What is on its way still comes."""
        self.removed(list(self._held))


def _take(holders: dict[int, int], block: int, bit: int) -> None:
    left = holders.get(block, 0) & ~bit
    if left:
        holders[block] = left
    else:
        holders.pop(block, None)
