"""admission: how many calls of batches go at once, and whose. Part of routing; asks no model."""

from .admissions import Admissions, Waiting
from .lanes import LaneName, Lanes, lanes_of, pool_for
from .limiter import FIRST, Limiter
from .stays import Finding, Sample, Stays
from .turns import Turns, Waiter

__all__ = [
    "FIRST",
    "Admissions",
    "Finding",
    "LaneName",
    "Lanes",
    "Limiter",
    "Sample",
    "Stays",
    "Turns",
    "Waiter",
    "Waiting",
    "lanes_of",
    "pool_for",
]
