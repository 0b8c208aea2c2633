"""simulation: what engines would do with a trace, iteration by iteration. Measures nothing itself.

What runs and plans takes simpy and numpy, so it is imported where it is used.
"""

from .cost import CostModel, Work, read_cost, work_of
from .jobs import Ended, Job
from .profile import Draft, Profile

__all__ = [
    "CostModel",
    "Draft",
    "Ended",
    "Job",
    "Profile",
    "Work",
    "read_cost",
    "work_of",
]
