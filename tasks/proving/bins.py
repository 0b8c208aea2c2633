"""Calibration bins: how often replies are right, by the judge's score. Computes only."""

from collections.abc import Sequence
from dataclasses import dataclass

from ...bounds import lower_share, upper_share
from .calibration import Outcome

BINS = 10
"""Of equal width, from 0 to 1."""

_EACH_SIDE = 0.975
"""Both sides together hold with confidence 0.95."""


@dataclass(frozen=True, slots=True)
class Bin:
    """The replies with a score of `low` to `high`. `score`: their mean.

    `right`, `accepted`: how many of the `items` are right, and how many were accepted.
    """

    low: float
    high: float
    score: float
    items: int
    right: int
    accepted: int

    @property
    def share(self) -> float:
        """The share of right ones."""
        return self.right / self.items

    @property
    def interval(self) -> tuple[float, float]:
        """Exact 95 % interval of that share (Clopper & Pearson)."""
        return (
            lower_share(self.right, self.items, _EACH_SIDE),
            upper_share(self.right, self.items, _EACH_SIDE),
        )


def bins_of(outcomes: Sequence[Outcome], threshold: float) -> list[Bin]:
    """Return the bins that hold a reply, rising. `threshold`: the least score accepted."""
    found = list[Bin]()
    for number in range(BINS):
        here = [each for each in outcomes if min(int(each.score * BINS), BINS - 1) == number]
        if here:
            found.append(
                Bin(
                    number / BINS,
                    (number + 1) / BINS,
                    sum(each.score for each in here) / len(here),
                    len(here),
                    sum(each.right for each in here),
                    sum(each.score >= threshold for each in here),
                )
            )
    return found
