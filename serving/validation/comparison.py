"""Comparison: how many times as fast is the other way, at least? Bounds by a paired bootstrap.

A pair is the unit: requests that ran together share their noise. Of each pair the logarithm of the
ratio is taken, and the bootstrap is of the studentised mean (bootstrap-t: Efron & Tibshirani, An
Introduction to the Bootstrap, 1993, ch. 12.5), which keeps its level with a dozen pairs where
percentiles are too narrow. A dozen pairs of which one was disturbed tell too little of the tails,
so a bound is never closer than Student's t has it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log

LEAST_PAIRS = 6
"""With fewer no bound is given."""

_DRAWS = 4000
_EVEN = 1e-12


@dataclass(frozen=True, slots=True)
class Speedup:
    """How many times as fast, of so many pairs; `low` and `high` each hold with `confidence`."""

    estimate: float
    low: float
    high: float
    pairs: int
    confidence: float


def speedup(ratios: Sequence[float], confidence: float, seed: int) -> Speedup | None:
    """Return the geometric mean of ratios with its one-sided bounds; None for too few of them.

    Raises ValueError for a ratio that is not above 0, or a confidence outside (0.5, 1).
    """
    if not 0.5 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, but must lie between 0.5 and 1: 0.95, say.")
    if any(ratio <= 0 for ratio in ratios):
        raise ValueError("A ratio of times is above 0. Leave out what was not measured.")
    if len(ratios) < LEAST_PAIRS:
        return None
    import numpy as np  # noqa: PLC0415  # slow to import

    values = np.array([log(ratio) for ratio in ratios])
    count, mean = len(values), float(values.mean())
    error = float(values.std(ddof=1)) / count**0.5
    if error < _EVEN:
        return Speedup(exp(mean), exp(mean), exp(mean), count, confidence)
    drawn = values[np.random.default_rng(seed).integers(0, count, (_DRAWS, count))]
    # A draw of one value over and over has no error of its own; it says nothing of the tails.
    errors = drawn.std(axis=1, ddof=1) / count**0.5
    varied = errors > _EVEN
    scores = (drawn.mean(axis=1)[varied] - mean) / errors[varied]
    least = _student(confidence, count - 1)
    below, above = np.quantile(scores, [1 - confidence, confidence])
    low, high = mean - max(above, least) * error, mean - min(below, -least) * error
    return Speedup(exp(mean), exp(low), exp(high), count, confidence)


def _student(confidence: float, degrees: int) -> float:
    from scipy.special import stdtrit  # noqa: PLC0415  # slow to import

    return float(stdtrit(degrees, confidence))
