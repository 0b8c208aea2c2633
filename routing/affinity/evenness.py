"""Evenness: which replicas were lately given more to read than their part. Pure."""

_MOST_OVER_MEAN = 1.15
_REQUESTS_PER_REPLICA = 8
_KEPT = 0.5


class Evenness:
    """What each slot was given to read, older requests counting less.

    `over`: the slots that were given over 1.15 times the mean, a bit each. Source of the bound:
    consistent hashing with bounded loads, arXiv 1608.01350.
    """

    def __init__(self) -> None:
        self.over = 0
        self._given: list[float] = []
        self._sum = 0.0
        self._counted = 0
        # The first few requests fall unevenly by chance.
        self._is_known = False

    def give(self, slot: int, tokens: float, replicas: int) -> None:
        """Count a request's reading."""
        self._given += [0.0] * (slot + 1 - len(self._given))
        self._given[slot] += tokens
        self._sum += tokens
        if self._is_known:
            self._mark(slot, replicas)
        self._counted += 1
        if self._counted >= _REQUESTS_PER_REPLICA * replicas:
            self._counted, self._is_known = 0, True
            self._given = [_KEPT * each for each in self._given]
            self._sum = sum(self._given)
            for each in range(len(self._given)):
                self._mark(each, replicas)

    def forget(self, slot: int) -> None:
        """Forget what a slot was given: it is nobody's now."""
        if slot < len(self._given):
            self._sum -= self._given[slot]
            self._given[slot] = 0.0
            self.over &= ~(1 << slot)

    def _mark(self, slot: int, replicas: int) -> None:
        if self._given[slot] * replicas > _MOST_OVER_MEAN * self._sum:
            self.over |= 1 << slot
        else:
            self.over &= ~(1 << slot)
