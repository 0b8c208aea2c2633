"""Mismatch: are both arms as large as their weights say? If not, neither can be trusted.

A Bayes factor of a beta prior around the weight against the weight itself; reset by stage. An alarm
at 100 is false with probability 0.01 at most, however often one looks.
"""

from math import lgamma, log

from .samples import Stage

ALARM = log(100)
"""The log of a Bayes factor at which a mismatch is taken for proven."""

_STRENGTH = 100.0


def mismatch(stage: Stage) -> float:
    """Return the log Bayes factor that the share of candidate units is not the stage's weight."""
    ours, theirs, weight = stage.candidate.units, stage.baseline.units, stage.weight
    a, b = _STRENGTH * weight, _STRENGTH * (1 - weight)
    seen = ours * log(weight) + theirs * log(1 - weight)
    return _log_beta(a + ours, b + theirs) - _log_beta(a, b) - seen


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)
