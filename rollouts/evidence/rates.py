"""Rates: is something bad more frequent with the candidate? Exact at any number of units.

A unit is the candidate's with probability w. If p1 and p0 are the chances of an event by arm, an
event is the candidate's with probability theta(p1 / p0, w), theta(r, w) = r w / (r w + 1 - w),
whatever p0 is and however it drifts. Against "p1 / p0 <= limit" each bet stakes on a greater ratio;
their mean capital exceeds 1 / alpha with probability alpha at most, at whatever time one looks
(Ville).

Source: conditional binomial tests; Kulldorff et al. 2011; Lindon & Malek, arXiv 2205.14762.
"""

from collections.abc import Sequence
from math import exp, log, log1p

from .samples import Stage

_BETS = 25
_LEAST, _MOST = 1.25, 16.0
_RATIOS = tuple(_LEAST * (_MOST / _LEAST) ** (at / (_BETS - 1)) for at in range(_BETS))


def harm_of_rates(stages: Sequence[Stage], limit: float) -> float:
    """Return the log evidence that the candidate's rate is more than `limit` times the baseline's.

    For units that show 0 or 1. 1 / alpha or more, in logs, is proof at confidence 1 - alpha.
    """
    return _evidence(stages, limit, _RATIOS)


def no_harm_of_rates(stages: Sequence[Stage], limit: float) -> float:
    """Return the log evidence that it is less than `limit` times the baseline's."""
    return _evidence(stages, limit, [1 / ratio for ratio in _RATIOS])


def _evidence(stages: Sequence[Stage], limit: float, ratios: Sequence[float]) -> float:
    capitals = [sum(_growth(each, limit, ratio) for each in stages) for ratio in ratios]
    most = max(capitals)
    return most + log(sum(exp(each - most) for each in capitals) / len(capitals))


def _growth(stage: Stage, limit: float, ratio: float) -> float:
    odds = stage.weight / (1 - stage.weight)
    # theta and 1 - theta of both hypotheses share all but these terms.
    whole = log1p(odds * limit) - log1p(odds * limit * ratio)
    ours, theirs = stage.candidate.events, stage.baseline.events
    return ours * (log(ratio) + whole) + theirs * whole
