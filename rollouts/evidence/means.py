"""Means: is the candidate worse by more than is allowed? For numbers of any kind, at any time.

Each stage gives a difference D with information I = 1 / (v1 / n1 + v0 / n0). S = sum I (D - d0) and
V = sum I behave like a Brownian motion and its clock, so a normal mixture over effects of size tau
is a test martingale against "the difference is d0 or less" (half of it, for one side). It is right
for many units only: a hundred in each arm before it counts.

Source: Howard et al. 2021, propositions 4-5; Waudby-Smith et al., arXiv 2103.06476.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import erfc, inf, isinf, log, log1p, pi, sqrt
from operator import mul

from .samples import Sample, Stage

LEAST_UNITS = 100
"""In each arm; with fewer the normal approximation is not good enough."""

_FAR = -30.0


@dataclass(frozen=True, slots=True)
class Interval:
    """The difference between both arms, and bounds that hold at every time at once.

    With too few units there are none: they are infinite. `error`: the standard error.
    """

    estimate: float
    low: float
    high: float
    error: float = inf

    def __str__(self) -> str:
        if isinf(self.low):
            return f"{self.estimate:+.4g} (too few units for bounds)"
        return f"{self.estimate:+.4g} ({self.low:+.4g} to {self.high:+.4g})"


def harm_of_means(
    stages: Sequence[Stage], *, ratio: float = 1.0, allowed: float = 0.0, effect: float
) -> float:
    """Return the log evidence that the candidate's mean is too great.

    That is, greater than `ratio` times the baseline's plus `allowed`. Turn the sign where more is
    better. `effect`: the smallest excess that matters, which the test is most sensitive to. 0 with
    too few units.
    """
    score, information = _score(stages, ratio, allowed)
    return _one_sided(score, information, effect)


def no_harm_of_means(
    stages: Sequence[Stage], *, ratio: float = 1.0, allowed: float = 0.0, effect: float
) -> float:
    """Return the log evidence that it is less than that."""
    score, information = _score(stages, ratio, allowed)
    return _one_sided(-score, information, effect)


def interval_of_means(
    stages: Sequence[Stage], *, ratio: float = 1.0, effect: float, confidence: float = 0.95
) -> Interval:
    """Return the candidate's mean less `ratio` times the baseline's, with always-valid bounds."""
    score, information = _score(stages, ratio, 0.0)
    if not information:
        return Interval(_raw(stages, ratio), -inf, inf)
    prior = 1 / effect**2
    spread = sqrt((information + prior) * log((1 + information / prior) / (1 - confidence) ** 2))
    middle = score / information
    reach = spread / information
    return Interval(middle, middle - reach, middle + reach, 1 / sqrt(information))


def means_of(stages: Sequence[Stage]) -> tuple[float, float] | None:
    """Return both arms' means as they were seen, candidate and baseline; None without a stage.

    Each stage counts in both arms alike, by how much it could tell.
    """
    both = [each for each in stages if each.candidate.units and each.baseline.units]
    if not both:
        return None
    told = [1 / (1 / each.candidate.units + 1 / each.baseline.units) for each in both]
    ours = sum(map(mul, told, (each.candidate.mean for each in both))) / sum(told)
    theirs = sum(map(mul, told, (each.baseline.mean for each in both))) / sum(told)
    return ours, theirs


def _raw(stages: Sequence[Stage], ratio: float) -> float:
    """Return the difference as it was seen; 0 for none."""
    ours, theirs = means_of(stages) or (0.0, 0.0)
    return ours - ratio * theirs


def _score(stages: Sequence[Stage], ratio: float, allowed: float) -> tuple[float, float]:
    score = information = 0.0
    candidates = sum(each.candidate.units for each in stages)
    baselines = sum(each.baseline.units for each in stages)
    if min(candidates, baselines) < LEAST_UNITS:
        return 0.0, 0.0
    # A stage whose few units are all alike says nothing of how much they vary: take the others'.
    ours = _pooled([each.candidate for each in stages])
    theirs = _pooled([each.baseline for each in stages])
    for each in stages:
        n1, n0 = each.candidate.units, each.baseline.units
        if not n1 or not n0:
            continue
        v1 = each.candidate.variance if n1 >= LEAST_UNITS else ours
        v0 = each.baseline.variance if n0 >= LEAST_UNITS else theirs
        noise = v1 / n1 + ratio**2 * v0 / n0
        if noise <= 0:
            continue
        difference = each.candidate.mean - ratio * each.baseline.mean - allowed
        score += difference / noise
        information += 1 / noise
    return score, information


def _pooled(samples: Sequence[Sample]) -> float:
    """Return the variance within samples."""
    free = sum(max(each.units - 1, 0) for each in samples)
    return sum(each.variance * max(each.units - 1, 0) for each in samples) / free if free else 0.0


def _one_sided(score: float, information: float, effect: float) -> float:
    if not information:
        return 0.0
    grown = 1 + effect**2 * information
    reach = effect * score / sqrt(grown)
    return log(2) - 0.5 * log(grown) + reach**2 / 2 + _log_normal(reach)


def _log_normal(value: float) -> float:
    """Return the logarithm of the standard normal distribution function."""
    if value > _FAR:
        return log(0.5 * erfc(-value / sqrt(2)))
    return -(value**2) / 2 - log(-value) - 0.5 * log(2 * pi) + log1p(-1 / value**2)
