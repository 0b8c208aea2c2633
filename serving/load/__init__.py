"""load: an engine under a load that is known, and what each request of it took."""

from .client import LoadClient, Timed
from .counters import Counters, counters_in
from .patterns import Arrival, Asked, arriving, closed_loop, in_batches

__all__ = [
    "Arrival",
    "Asked",
    "Counters",
    "LoadClient",
    "Timed",
    "arriving",
    "closed_loop",
    "counters_in",
    "in_batches",
]
