"""Calibration curve: what each way of choosing between two tiers costs, and how often it is right.

Computes only. Costs are in USD for all outcomes together, the judge's included where it is asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .calibration import Outcome

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Policy:
    """A way to choose. `right`: share of right answers, 0-1. `threshold`: of a cascade's only."""

    name: str
    right: float
    cost_usd: float
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Curve:
    """What was asked, an item a row: whether it was right (0 or 1), what it cost, its score."""

    right: Floats
    strong_right: Floats
    weak_usd: Floats
    judge_usd: Floats
    strong_usd: Floats
    scores: Floats

    @property
    def cheap(self) -> Policy:
        """The cheap tier alone."""
        return self._choosing("cheap tier alone", self.right, self.weak_usd)

    @property
    def strong(self) -> Policy:
        """The strongest tier alone."""
        return self._choosing("strongest tier alone", self.strong_right, self.strong_usd)

    @property
    def mixed(self) -> Policy:
        """Half of the items by the one, half by the other, at random."""
        right, cost = self.right + self.strong_right, self.weak_usd + self.strong_usd
        return self._choosing("half and half, at random", right / 2, cost / 2)

    @property
    def oracle(self) -> Policy:
        """It knows both answers, and pays for one."""
        cost = np.where(self.right >= self.strong_right, self.weak_usd, self.strong_usd)
        return self._choosing("oracle", np.maximum(self.right, self.strong_right), cost)

    @property
    def perfect(self) -> Policy:
        """A judge without a mistake and without a price."""
        kept = self.right > 0
        cost = self.weak_usd + np.where(kept, 0.0, self.strong_usd)
        return self._choosing("perfect judge", np.where(kept, self.right, self.strong_right), cost)

    def accepting(self, threshold: float) -> Policy:
        """Return the cascade that accepts a score of `threshold` or more."""
        kept = self.scores >= threshold
        cost = self.weak_usd + self.judge_usd + np.where(kept, 0.0, self.strong_usd)
        right = np.where(kept, self.right, self.strong_right)
        found = self._choosing(f"accepted at {threshold:.3g}", right, cost)
        return Policy(found.name, found.right, found.cost_usd, threshold)

    def thresholds(self, chosen: float, most: int) -> list[float]:
        """Return the scores that were seen, rising, or `most` quantiles of them; and `chosen`."""
        seen = np.unique(self.scores)
        some = seen if len(seen) <= most else np.quantile(seen, np.linspace(0, 1, most))
        return sorted({*map(float, some), chosen})

    @property
    def first_share(self) -> float:
        """What cheap answer and judge cost of the strongest tier's answer; 0 where that is free."""
        first = float((self.weak_usd + self.judge_usd).sum())
        return first / self.strong.cost_usd if self.strong.cost_usd else 0.0

    def _choosing(self, name: str, right: Floats, cost_usd: Floats) -> Policy:
        return Policy(name, float(right.mean()), float(cost_usd.sum()))


def curve_of(outcomes: Sequence[Outcome]) -> Curve | None:
    """Return the curve of outcomes, None where a price is unknown or there is no outcome."""
    costs = [_costs(outcomes, name) for name in ("weak_usd", "judge_usd", "strong_usd")]
    weak, judge, strong = costs
    if not outcomes or weak is None or judge is None or strong is None:
        return None
    return Curve(
        np.array([each.right for each in outcomes], np.float64),
        np.array([each.strong_right for each in outcomes], np.float64),
        weak,
        judge,
        strong,
        np.array([each.score for each in outcomes]),
    )


def _costs(outcomes: Sequence[Outcome], name: str) -> Floats | None:
    costs: list[float | None] = [getattr(each, name) for each in outcomes]
    known = [cost for cost in costs if cost is not None]
    return np.array(known, np.float64) if len(known) == len(costs) else None
