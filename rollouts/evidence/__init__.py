"""evidence: what both arms show, at any time and as often as one looks. Pure arithmetic."""

from .means import Interval, harm_of_means, interval_of_means, no_harm_of_means
from .mismatch import mismatch
from .paired import Pairs
from .rates import harm_of_rates, no_harm_of_rates
from .samples import Sample, Stage

__all__ = [
    "Interval",
    "Pairs",
    "Sample",
    "Stage",
    "harm_of_means",
    "harm_of_rates",
    "interval_of_means",
    "mismatch",
    "no_harm_of_means",
    "no_harm_of_rates",
]
