"""Shares: how many of the newest requests have a block. Pure."""

_USES_PER_REPLICA = 8


class Shares:
    """The share of requests that each block is in, over the newest 8 to 16 per replica."""

    def __init__(self) -> None:
        # Two generations, so that the old is forgotten at once and not block by block.
        self._new: dict[int, int] = {}
        self._old: dict[int, int] = {}
        self._counted = 0
        self._counted_before = 0

    def count(self, blocks: tuple[int, ...], replicas: int) -> None:
        """Count a request."""
        new = self._new
        for block in blocks:
            new[block] = new.get(block, 0) + 1
        self._counted += 1
        if self._counted >= _USES_PER_REPLICA * replicas:
            self._new, self._old = {}, new
            self._counted, self._counted_before = 0, self._counted

    def worth(self, block: int, replicas: int) -> float:
        """Return how many replicas should hold a block if all are to have equal work.

        A block that a share s of all requests has is worth s of the replicas.
        """
        uses = self._new.get(block, 0) + self._old.get(block, 0)
        # As if there had been one request per replica without it: the first ones prove little.
        return uses * replicas / (replicas + self._counted + self._counted_before)
