"""Terms: how a rollout goes on and what may stop it, as text: for stores and for tierflow.toml."""

from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from .metrics import (
    Cost,
    ErrorRate,
    Metric,
    Quality,
    TailLatency,
    cost_per_task,
    error_rate,
    p95_latency,
    quality,
)
from .rollout import DEFAULT_STEPS, AssignBy, Rollout, Step, Variant

_STRICT = ConfigDict(frozen=True, extra="forbid")


class ErrorRateTerms(BaseModel):
    """See `error_rate`."""

    model_config = _STRICT

    metric: Literal["error_rate"] = "error_rate"
    limit: float = 1.25
    margin: float = 0.02

    def made(self) -> Metric:
        """Return the metric. Raises ValueError."""
        return error_rate(self.limit, margin=self.margin)


class TailLatencyTerms(BaseModel):
    """See `p95_latency`."""

    model_config = _STRICT

    metric: Literal["p95_latency"] = "p95_latency"
    limit: float = 1.3
    margin: float = 0.05

    def made(self) -> Metric:
        """Return the metric. Raises ValueError."""
        return p95_latency(self.limit, margin=self.margin)


class QualityTerms(BaseModel):
    """See `quality`."""

    model_config = _STRICT

    metric: Literal["quality"] = "quality"
    evaluation: str
    margin: float = 0.03
    allowed: float = 0.0
    effect: float = 0.05

    def made(self) -> Metric:
        """Return the metric. Raises ValueError."""
        return quality(
            self.evaluation, margin=self.margin, allowed=self.allowed, effect=self.effect
        )


class CostTerms(BaseModel):
    """See `cost_per_task`."""

    model_config = _STRICT

    metric: Literal["cost_per_task"] = "cost_per_task"
    limit: float = 1.2

    def made(self) -> Metric:
        """Return the metric. Raises ValueError."""
        return cost_per_task(self.limit)


MetricTerms: TypeAlias = Annotated[
    ErrorRateTerms | TailLatencyTerms | QualityTerms | CostTerms, Field(discriminator="metric")
]


class Terms(BaseModel):
    """All of a rollout but its name and its variants. See Rollout for what each means."""

    model_config = _STRICT

    steps: tuple[Step, ...] = DEFAULT_STEPS
    guardrails: tuple[MetricTerms, ...] = (ErrorRateTerms(),)
    signals: tuple[MetricTerms, ...] = ()
    assign_by: AssignBy = "run"
    min_units: int = 100
    min_step_s: float = 600.0
    max_step_s: float = 7 * 86_400.0
    confidence: float = 0.95
    holdback: float = 0.05
    shadow_share: float = 0.1
    shadow_pairs: int = 100
    shadow_rpm: float = 60.0
    shadow_usd_a_day: float | None = None
    horizon_units: int | None = None
    looks: int = 0

    @classmethod
    def of(cls, rollout: Rollout) -> Self:
        """Return the terms of a rollout."""
        plain = {name: getattr(rollout, name) for name in cls.model_fields}
        metrics = {
            role: tuple(_terms_of(each) for each in getattr(rollout, role))
            for role in ("guardrails", "signals")
        }
        return cls.model_validate({**plain, **metrics})

    def rollout(
        self, name: str, candidate: Variant | None = None, baseline: Variant | None = None
    ) -> Rollout:
        """Return the rollout by that name. Raises ValueError for terms that make no sense."""
        plain: dict[str, Any] = {
            each: getattr(self, each)
            for each in type(self).model_fields
            if each not in ("guardrails", "signals")
        }
        return Rollout(
            name,
            candidate or Variant(),
            baseline or Variant(),
            guardrails=[each.made() for each in self.guardrails],
            signals=[each.made() for each in self.signals],
            **plain,
        )


def _terms_of(metric: Metric) -> MetricTerms:
    match metric:
        case ErrorRate(limit, margin):
            return ErrorRateTerms(limit=limit, margin=margin)
        case TailLatency(limit, margin):
            return TailLatencyTerms(limit=limit, margin=margin)
        case Quality(evaluation, margin, allowed, effect):
            return QualityTerms(
                evaluation=evaluation, margin=margin, allowed=allowed, effect=effect
            )
        case Cost(limit):
            return CostTerms(limit=limit)
        case _:
            raise TypeError(
                f"{type(metric).__name__} is no metric that a store can keep. Take tierflow's own."
            )
