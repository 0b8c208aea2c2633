"""Metrics: what of a call counts, and when the candidate is worse, or provably not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from ..percentiles import percentile
from .evidence import (
    Interval,
    Pairs,
    Stage,
    harm_of_means,
    harm_of_rates,
    interval_of_means,
    no_harm_of_means,
)
from .observations import Arm, Observation

Unit: TypeAlias = Literal["share", "score", "USD"]
"""What a metric measures in: 0-1 of calls, 0-1 where 1 is best, or dollars."""

_LEAST_CALLS = 100
"""Of the baseline, before something of it is frozen."""


class Metric:
    """One thing that a rollout watches. Evidence is in logs: log(1 / alpha) proves at 1 - alpha.

    What is shown is summed up so that more is worse. `margin`: how much worse is no harm yet.
    """

    is_held: ClassVar[bool] = False
    """Whether something of the baseline is measured once, and held fast: its `frozen`."""

    unit: ClassVar[Unit] = "share"

    @property
    def name(self) -> str:
        """As reports and reasons name it."""
        raise NotImplementedError

    def freeze(self, baseline: Sequence[Observation]) -> float | None:
        """Return what of the baseline is to be held fast; None with too few calls."""
        del baseline
        return None

    def value(self, seen: Observation, arm: Arm, frozen: float) -> float | None:
        """Return what one call shows, None where it says nothing."""
        raise NotImplementedError

    def harm(self, stages: Sequence[Stage], frozen: float) -> float:
        """Return the evidence that the candidate is worse than is allowed."""
        raise NotImplementedError

    def no_harm(self, stages: Sequence[Stage], frozen: float) -> float:
        """Return the evidence that it is not."""
        raise NotImplementedError

    def difference(self, stages: Sequence[Stage], frozen: float) -> Interval:
        """Return the candidate's mean less the baseline's, with bounds that hold at every time."""
        raise NotImplementedError

    def worst(self, frozen: float) -> float:
        """Return the difference from which on the candidate is worse than is allowed."""
        raise NotImplementedError

    def measured(self, mean: float) -> float:
        """Return a mean of `value` in the metric's unit, as people read it."""
        return mean

    def measured_in_pairs(self, mean: float) -> float:
        """Return a mean of `score` in the metric's unit, as people read it."""
        return mean

    def paired(self) -> Pairs | None:
        """Return a test of pairs with this metric's limits; None where pairs say nothing.

        Nobody waits for a shadow, and its price is no score.
        """
        return None

    def score(self, seen: Observation) -> float | None:
        """Return how good a call was, in [0, 1], for a pair; None where it says nothing."""
        del seen
        return None


@dataclass(frozen=True, slots=True)
class Share(Metric):
    """A share of calls: of those that failed, or were slow. `limit`: as a ratio of shares."""

    limit: float
    margin: float

    @property
    def _ratio(self) -> float:
        return self.limit

    def harm(self, stages: Sequence[Stage], frozen: float) -> float:
        """See Metric. Exact where units show 0 or 1."""
        del frozen
        if all(each.candidate.plain and each.baseline.plain for each in stages):
            return harm_of_rates(stages, self._ratio)
        return harm_of_means(stages, ratio=self._ratio, effect=self.margin)

    def no_harm(self, stages: Sequence[Stage], frozen: float) -> float:
        """See Metric."""
        del frozen
        return no_harm_of_means(stages, allowed=self.margin, effect=self.margin)

    def difference(self, stages: Sequence[Stage], frozen: float) -> Interval:
        """See Metric."""
        del frozen
        return interval_of_means(stages, effect=self.margin)

    def worst(self, frozen: float) -> float:
        """See Metric."""
        del frozen
        return self.margin


@dataclass(frozen=True, slots=True)
class ErrorRate(Share):
    """The share of calls that failed. See `error_rate`."""

    @property
    def name(self) -> str:
        """See Metric."""
        return "error rate"

    def value(self, seen: Observation, arm: Arm, frozen: float) -> float | None:
        """Return 1 for a failure."""
        del arm, frozen
        return float(seen.failed)

    def paired(self) -> Pairs | None:
        """See Metric."""
        return Pairs(0.0, self.margin)

    def measured_in_pairs(self, mean: float) -> float:
        """See Metric."""
        return 1 - mean

    def score(self, seen: Observation) -> float | None:
        """Return 1 for a call that did not fail."""
        return float(not seen.failed)


def error_rate(limit: float = 1.25, *, margin: float = 0.02) -> Metric:
    """Watch the share of failed calls.

    Harm: it is more than `limit` times the baseline's. No harm: it is not `margin` above it.
    """
    if limit < 1 or not 0 < margin < 1:
        raise ValueError(f"limit {limit} must be 1 or more, margin {margin} between 0 and 1.")
    return ErrorRate(limit, margin)


@dataclass(frozen=True, slots=True)
class TailLatency(Share):
    """The share of calls slower than the baseline's 95th percentile. See `p95_latency`."""

    is_held: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """See Metric."""
        return "p95 latency"

    @property
    def _ratio(self) -> float:
        # The limit is on the time, not on the share.
        return 1.0

    def freeze(self, baseline: Sequence[Observation]) -> float | None:
        """Return the 95th percentile of the baseline's calls, in ms."""
        known = [
            each.latency_ms for each in baseline if not each.hit and each.latency_ms is not None
        ]
        return percentile(known, 0.95) if len(known) >= _LEAST_CALLS else None

    def value(self, seen: Observation, arm: Arm, frozen: float) -> float | None:
        """Return 1 for a call that is slower than its arm may be in one of twenty."""
        if seen.hit or seen.latency_ms is None:
            return None
        return float(seen.latency_ms > frozen * (self.limit if arm == "candidate" else 1.0))


def p95_latency(limit: float = 1.3, *, margin: float = 0.05) -> Metric:
    """Watch the 95th percentile of latency, cache hits left out.

    Harm: the candidate's is more than `limit` times the baseline's, as measured at the start. No
    harm: not `margin` more of its calls are slower than that. Exact at any number of units.
    """
    if limit < 1 or not 0 < margin < 1:
        raise ValueError(f"limit {limit} must be 1 or more, margin {margin} between 0 and 1.")
    return TailLatency(limit, margin)


@dataclass(frozen=True, slots=True)
class Quality(Metric):
    """The mean score of an evaluation. See `quality`."""

    evaluation: str
    margin: float
    allowed: float
    effect: float
    unit: ClassVar[Unit] = "score"

    @property
    def name(self) -> str:
        """As reports and reasons name it."""
        return f"quality ({self.evaluation})"

    def value(self, seen: Observation, arm: Arm, frozen: float) -> float | None:
        """Return the score below 0, so that more is worse, as for all metrics."""
        del arm, frozen
        score = seen.scores.get(self.evaluation)
        return None if score is None else -score

    def harm(self, stages: Sequence[Stage], frozen: float) -> float:
        """See Metric."""
        del frozen
        return harm_of_means(stages, allowed=self.allowed, effect=self.effect)

    def no_harm(self, stages: Sequence[Stage], frozen: float) -> float:
        """See Metric."""
        del frozen
        return no_harm_of_means(stages, allowed=self.margin, effect=self.margin)

    def difference(self, stages: Sequence[Stage], frozen: float) -> Interval:
        """Return the difference in scores: above 0 the candidate is better."""
        del frozen
        found = interval_of_means(stages, effect=self.effect)
        return Interval(-found.estimate, -found.high, -found.low, found.error)

    def worst(self, frozen: float) -> float:
        """See Metric: so much below the baseline's mean."""
        del frozen
        return -self.margin

    def measured(self, mean: float) -> float:
        """See Metric."""
        return -mean

    def paired(self) -> Pairs | None:
        """See Metric."""
        return Pairs(self.allowed, self.margin)

    def score(self, seen: Observation) -> float | None:
        """Return the score."""
        return seen.scores.get(self.evaluation)


def quality(
    evaluation: str, *, margin: float = 0.03, allowed: float = 0.0, effect: float = 0.05
) -> Metric:
    """Watch the mean score, 0-1, of an evaluation by that name, as `record_evaluation` keeps it.

    Harm: the mean is more than `allowed` below the baseline's. No harm: it is not `margin` below.
    `effect`: the smallest drop that matters, which is found soonest.
    """
    if not 0 <= allowed < margin < 1 or not 0 < effect < 1:
        raise ValueError(
            f"allowed {allowed} must be below margin {margin}, and effect {effect} above 0."
        )
    return Quality(evaluation, margin, allowed, effect)


@dataclass(frozen=True, slots=True)
class Cost(Metric):
    """The mean cost of a call. See `cost_per_task`."""

    limit: float
    is_held: ClassVar[bool] = True
    unit: ClassVar[Unit] = "USD"

    @property
    def name(self) -> str:
        """See Metric."""
        return "cost per task"

    def freeze(self, baseline: Sequence[Observation]) -> float | None:
        """Return the baseline's mean cost, in USD."""
        known = [each.cost_usd for each in baseline if not each.hit and each.cost_usd is not None]
        return sum(known) / len(known) if len(known) >= _LEAST_CALLS else None

    def value(self, seen: Observation, arm: Arm, frozen: float) -> float | None:
        """Return the cost in USD; None for a hit, or without a price."""
        del arm, frozen
        return None if seen.hit else seen.cost_usd

    def harm(self, stages: Sequence[Stage], frozen: float) -> float:
        """See Metric."""
        return harm_of_means(stages, ratio=self.limit, effect=self._effect(frozen))

    def no_harm(self, stages: Sequence[Stage], frozen: float) -> float:
        """See Metric."""
        return no_harm_of_means(stages, ratio=self.limit, effect=self._effect(frozen))

    def difference(self, stages: Sequence[Stage], frozen: float) -> Interval:
        """Return the difference in USD."""
        return interval_of_means(stages, effect=self._effect(frozen))

    def worst(self, frozen: float) -> float:
        """See Metric: so many USD above the baseline's mean."""
        return (self.limit - 1) * frozen

    def _effect(self, frozen: float) -> float:
        return max(0.1 * frozen, 1e-12)


def cost_per_task(limit: float = 1.2) -> Metric:
    """Watch the mean cost of a call, judges and failed tries included, cache hits left out.

    Harm: it is more than `limit` times the baseline's; no harm: it is not.
    """
    if limit < 1:
        raise ValueError(f"limit is {limit}, and below 1 the baseline itself would be too dear.")
    return Cost(limit)
