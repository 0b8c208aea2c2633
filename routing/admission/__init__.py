"""admission: how many calls of batches go at once, and whose. Part of routing; asks no model."""

from .admissions import Admissions, Waiting
from .lanes import LaneName, Lanes, lanes_of, pool_for
from .limiter import Limiter
from .lines import Lines, Waiter
from .stays import Finding, Sample, Stays

__all__ = [
    "Admissions",
    "Finding",
    "LaneName",
    "Lanes",
    "Limiter",
    "Lines",
    "Sample",
    "Stays",
    "Waiter",
    "Waiting",
    "lanes_of",
    "pool_for",
]
