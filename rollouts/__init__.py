"""rollouts: which version answers? Assignment, evidence, and a controller that goes by it."""

from .assignment import arm_of, position
from .metrics import Metric, cost_per_task, error_rate, p95_latency, quality
from .observations import Arm
from .rollout import Rollout, Variant

__all__ = [
    "Arm",
    "Metric",
    "Rollout",
    "Variant",
    "arm_of",
    "cost_per_task",
    "error_rate",
    "p95_latency",
    "position",
    "quality",
]
