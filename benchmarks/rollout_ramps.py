"""Rollout ramps: simulated traffic of both arms, look by look, as evidence for a controller."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tierflow.rollouts.evidence import Sample, Stage
from tierflow.rollouts.observations import Observation, PairSeen, Shows

Floats = NDArray[np.float64]
Shown = Literal["error rate", "p95 latency", "quality (judge)"]

WEIGHTS = (0.05, 0.10, 0.25, 0.50, 0.95)
LOOKS = 12
"""In each step."""

SD = 0.25
_ICC = 0.3
_CALLS = 10
_SLOW = (0.025, 0.05)
"""Shares of calls above 1.3 times the baseline's p95, and above it: of equal, log-normal arms."""


@dataclass(frozen=True, slots=True)
class World:
    """What is true: error rates and mean scores, the candidate's first.

    `errors_end`, `scores_end`: where both arms drift to over the ramp. `clustered`: ten calls a
    unit, which are alike.
    """

    errors: tuple[float, float] = (0.02, 0.02)
    scores: tuple[float, float] = (0.80, 0.80)
    errors_end: float | None = None
    scores_end: float | None = None
    clustered: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """The units of one look: what they showed, by metric. The candidate's come first."""

    weight: float
    shown: tuple[Mapping[Shown, Floats], Mapping[Shown, Floats]]

    def count(self, arm: int) -> int:
        """Return how many units an arm had."""
        return len(self.shown[arm]["error rate"])


def looks(world: World, calls: int, random: np.random.Generator) -> list[Look]:
    """Simulate a ramp with so many calls a look."""
    found = list[Look]()
    units = calls // _CALLS if world.clustered else calls
    for at in range(len(WEIGHTS) * LOOKS):
        weight, done = WEIGHTS[at // LOOKS], at / (len(WEIGHTS) * LOOKS)
        candidates = int(random.binomial(units, weight))
        found.append(
            Look(
                weight,
                (
                    _shown(world, 0, candidates, done, random),
                    _shown(world, 1, units - candidates, done, random),
                ),
            )
        )
    return found


def _shown(
    world: World, arm: int, count: int, done: float, random: np.random.Generator
) -> Mapping[Shown, Floats]:
    rate = _drifted(world.errors[arm], world.errors_end, done)
    mean = _drifted(world.scores[arm], world.scores_end, done)
    if not world.clustered:
        return {
            "error rate": (random.random(count) < rate).astype(np.float64),
            "p95 latency": (random.random(count) < _SLOW[arm]).astype(np.float64),
            "quality (judge)": -scores(mean, SD, count, random),
        }
    # A mean of ten calls, of which three tenths of the variance are the unit's own.
    spread = SD * float(np.sqrt(_ICC + (1 - _ICC) / _CALLS))
    return {
        "error rate": _shares(rate, count, random),
        "p95 latency": _shares(_SLOW[arm], count, random),
        "quality (judge)": -scores(mean, spread, count, random),
    }


def _drifted(now: float, end: float | None, done: float) -> float:
    return now if end is None else now + done * (end - now)


def _shares(rate: float, count: int, random: np.random.Generator) -> Floats:
    strength = 1 / _ICC - 1
    chances = random.beta(rate * strength, (1 - rate) * strength, count)
    return random.binomial(_CALLS, chances) / _CALLS


def scores(mean: float, spread: float, count: int, random: np.random.Generator) -> Floats:
    """Return scores in [0, 1] with that mean and standard deviation."""
    strength = mean * (1 - mean) / spread**2 - 1
    return random.beta(mean * strength, (1 - mean) * strength, count)


@dataclass(slots=True)
class Ramp:
    """Evidence of the looks so far, by epoch. See `rollouts.observations.Evidence`."""

    arms: dict[int, list[dict[str, Sample]]] = field(
        default_factory=dict[int, list[dict[str, Sample]]]
    )

    def add(self, epoch: int, look: Look) -> None:
        """Take in a look."""
        kept = self.arms.setdefault(epoch, [{}, {}])
        for mine, shown in zip(kept, look.shown, strict=True):
            for name, values in shown.items():
                mine[name] = _joined(mine.get(name, Sample()), values)

    def stages(self, shows: Shows, frozen: float, weights: Mapping[int, float]) -> Sequence[Stage]:
        """See Evidence."""
        del frozen
        name: str = getattr(shows, "name", "")
        return [
            Stage(weights[epoch], candidate[name], baseline[name])
            for epoch, (candidate, baseline) in sorted(self.arms.items())
            if 0 < weights.get(epoch, 0.0) < 1
        ]

    def exposed(self, epoch: int) -> tuple[int, int]:
        """See Evidence."""
        nobody, none = dict[str, Sample](), Sample()
        candidate, baseline = self.arms.get(epoch, (nobody, nobody))
        return candidate.get("error rate", none).units, baseline.get("error rate", none).units

    def baseline(self) -> Sequence[Observation]:
        """See Evidence: what there is to freeze is frozen."""
        return []

    def pairs(self) -> Sequence[PairSeen]:
        """See Evidence."""
        return []


def _joined(sample: Sample, values: Floats) -> Sample:
    events = int((values == 1).sum())
    return Sample(
        sample.units + len(values),
        sample.total + float(values.sum()),
        sample.squares + float(values @ values),
        sample.events + events,
        sample.plain and bool(events + (values == 0).sum() == len(values)),
    )
