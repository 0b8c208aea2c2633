"""Observations: what one call of a step under a rollout showed, and their sums by unit."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from .evidence import Sample, Stage

Arm: TypeAlias = Literal["baseline", "candidate"]


@dataclass(frozen=True, slots=True)
class Observation:
    """One call that an arm answered. `unit`: what was assigned, `epoch`: under which weight.

    `ref`: of the answer, see Answer. `hit`: from a cache: its latency and cost say nothing of the
    arm. `cost_usd`: None without a price. `scores`: of evaluations, by name, in [0, 1]; they may
    come days later. `at`: Unix seconds.
    """

    unit: str
    arm: Arm
    epoch: int
    ref: str
    at: float
    failed: bool = False
    hit: bool = False
    latency_ms: float | None = None
    cost_usd: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, slots=True)
class PairSeen:
    """What both arms made of one question, in the shadow. The baseline's answer was served.

    `same`: whether both said the same. `said`: the baseline's words and the candidate's,
    empty where the store keeps no text (Prefect's Variables, which anybody there can read).
    """

    baseline: Observation
    candidate: Observation
    same: bool
    said: tuple[str, str] = field(default=("", ""), repr=False)


class Shows(Protocol):
    """What a metric makes of one call."""

    def value(self, seen: Observation, arm: Arm, frozen: float) -> float | None:
        """Return what the call shows, None where it says nothing."""
        ...


class Evidence(Protocol):
    """What is known of a rollout, summed up as the controller asks for it."""

    def stages(self, shows: Shows, frozen: float, weights: Mapping[int, float]) -> Sequence[Stage]:
        """Return both arms of every epoch whose weight is known and mixed, oldest first."""
        ...

    def exposed(self, epoch: int) -> tuple[int, int]:
        """Return how many units each arm had in an epoch: candidate, baseline."""
        ...

    def baseline(self) -> Sequence[Observation]:
        """Return the baseline's calls, oldest first."""
        ...

    def pairs(self) -> Sequence[PairSeen]:
        """Return the pairs of the shadow, oldest first."""
        ...


@dataclass(frozen=True, slots=True)
class Observed:
    """Evidence from observations as they are.

    The mean of a unit's calls is one value. A unit that was seen in both arms of an epoch is left
    out: it can have been moved by either.
    """

    observations: Sequence[Observation]
    seen_pairs: Sequence[PairSeen] = ()

    def stages(self, shows: Shows, frozen: float, weights: Mapping[int, float]) -> Sequence[Stage]:
        """See Evidence."""
        values: dict[int, dict[str, dict[Arm, list[float]]]] = defaultdict(
            lambda: defaultdict(lambda: defaultdict(list))
        )
        for each in self.observations:
            if 0 < weights.get(each.epoch, 0.0) < 1:
                shown = shows.value(each, each.arm, frozen)
                if shown is not None:
                    values[each.epoch][each.unit][each.arm].append(shown)
        return [
            Stage(weights[epoch], _sample(units, "candidate"), _sample(units, "baseline"))
            for epoch, units in sorted(values.items())
        ]

    def exposed(self, epoch: int) -> tuple[int, int]:
        """See Evidence."""
        arms = defaultdict[str, set[Arm]](set)
        for each in self.observations:
            if each.epoch == epoch:
                arms[each.unit].add(each.arm)
        return (
            sum(seen == {"candidate"} for seen in arms.values()),
            sum(seen == {"baseline"} for seen in arms.values()),
        )

    def baseline(self) -> Sequence[Observation]:
        """See Evidence."""
        return [each for each in self.observations if each.arm == "baseline"]

    def pairs(self) -> Sequence[PairSeen]:
        """See Evidence."""
        return self.seen_pairs


def _sample(units: Mapping[str, Mapping[Arm, Sequence[float]]], arm: Arm) -> Sample:
    return Sample.of(
        sum(arms[arm]) / len(arms[arm]) for arms in units.values() if set(arms) == {arm}
    )
