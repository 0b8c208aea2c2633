"""Blocks: an engine's paged KV cache. Named blocks outlive their requests until others need them.

As in vLLM V1: only full blocks of a prompt have a name, a released one stays until it is the least
recently used, and the tail of a prompt goes before its head.
"""

from collections.abc import Sequence


class Blocks:
    """`total` blocks: private ones, named ones in use, named ones left behind, and free ones."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._private = 0
        self._held: dict[int, int] = {}  # by how many sequences
        self._left: dict[int, None] = {}  # least recently used first

    @property
    def available(self) -> int:
        """Blocks that can be had: free ones, and those that nobody uses any more."""
        return self.total - self._private - len(self._held)

    @property
    def kept(self) -> int:
        """Blocks that hold something: never more than `total`."""
        return self._private + len(self._held) + len(self._left)

    def found(self, names: Sequence[int]) -> int:
        """Return how many of these names, from the first on, are here."""
        held, left = self._held, self._left
        for at, name in enumerate(names):
            if name not in held and name not in left:
                return at
        return len(names)

    def left_of(self, names: Sequence[int]) -> int:
        """Return how many of these names nobody uses: taking one makes one less available."""
        return sum(name in self._left for name in names)

    def share(self, names: Sequence[int]) -> None:
        """Use blocks that are here for one more sequence."""
        for name in names:
            self._left.pop(name, None)
            self._held[name] = self._held.get(name, 0) + 1

    def take(self, count: int) -> None:
        """Take private blocks. The caller has seen that they are available."""
        self._private += count
        while self.kept > self.total:
            del self._left[next(iter(self._left))]

    def name(self, name: int) -> bool:
        """Give a private block its name; False where another block already has it."""
        if name in self._held or name in self._left:
            return False
        self._private -= 1
        self._held[name] = 1
        return True

    def release(self, names: Sequence[int], private: int) -> None:
        """Give a sequence's blocks back; named ones in the order of its prompt."""
        self._private -= private
        for name in reversed(names):
            users = self._held[name] - 1
            if users:
                self._held[name] = users
            else:
                del self._held[name]
                self._left[name] = None
