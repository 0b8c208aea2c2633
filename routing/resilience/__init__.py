"""resilience: breakers, rate limits, hedges. Part of routing; decides, and asks no model."""

from .breaker import Breaker
from .buckets import Level, Limit
from .guard import Guard, Replicas
from .health import Condition, Health
from .hedging import HedgeShares, not_waited_for, race
from .latencies import Latencies, Usual
from .limits import Limits
from .opening import open_shared
from .shared import ChangeBreaker, ChangeLevel, SharedStates
from .window import Outcome, Window

__all__ = [
    "Breaker",
    "ChangeBreaker",
    "ChangeLevel",
    "Condition",
    "Guard",
    "Health",
    "HedgeShares",
    "Latencies",
    "Level",
    "Limit",
    "Limits",
    "Outcome",
    "Replicas",
    "SharedStates",
    "Usual",
    "Window",
    "not_waited_for",
    "open_shared",
    "race",
]
