"""Samples: one number for each assignment unit, summed by arm and stage. Tests nothing.

A unit (a flow run, a tenant) may make many calls, which are alike: its mean is one observation.
Stages are never pooled: where the weight changes, time has passed, and both arms may have changed
with it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Sample:
    """What the units of one arm showed in one stage: how many, their sum and sum of squares.

    `events`: how many showed exactly 1; `plain`: all of them showed 0 or 1.
    """

    units: int = 0
    total: float = 0.0
    squares: float = 0.0
    events: int = 0
    plain: bool = True

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """Sum values, one a unit."""
        listed = list(values)
        return cls(
            len(listed),
            sum(listed),
            sum(value * value for value in listed),
            sum(value == 1 for value in listed),
            all(value in (0, 1) for value in listed),
        )

    @property
    def mean(self) -> float:
        """The mean, 0 without units."""
        return self.total / self.units if self.units else 0.0

    @property
    def variance(self) -> float:
        """The unbiased variance, 0 for fewer than two units.

        Of shares not below that of one event more: where nothing has happened yet, it still may.
        """
        if self.units < 2:
            return 0.0
        seen = max(0.0, self.squares - self.total * self.mean) / (self.units - 1)
        if not self.plain:
            return seen
        share = (self.total + 1) / (self.units + 2)
        return max(seen, share * (1 - share))


@dataclass(frozen=True, slots=True)
class Stage:
    """Both arms at one time. `weight`: the chance of a unit to be the candidate's, in (0, 1)."""

    weight: float
    candidate: Sample
    baseline: Sample
