"""learned: what recorded answers teach about who should answer. Scores, thresholds, estimates."""

from .economics import Worth, refuse, weigh
from .features import Described, describe, describe_all
from .recordings import Recorded, Recordings
from .scorer import Estimate, Fitted, GainScorer, fit_scorer
from .threshold import (
    Learned,
    Refusal,
    equal_quality_threshold,
    learn_threshold,
    plan_path,
)

__all__ = [
    "Described",
    "Estimate",
    "Fitted",
    "GainScorer",
    "Learned",
    "Recorded",
    "Recordings",
    "Refusal",
    "Worth",
    "describe",
    "describe_all",
    "equal_quality_threshold",
    "fit_scorer",
    "learn_threshold",
    "plan_path",
    "refuse",
    "weigh",
]
