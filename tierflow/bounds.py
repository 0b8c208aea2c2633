"""Ground: bounds on a share that was counted, or on a mean. Pure arithmetic; knows no room.

`lower_share` and `upper_share` are exact for a count that was fixed beforehand. If the true share
is p, each lies on the wrong side of p with probability 1 - confidence at most, whatever p and the
count (Clopper & Pearson, Biometrika 26, 1934). Both at once need half of that each (Bonferroni).

`anytime_upper_share` may be looked at after every further check, and is wider for it.
`mean_bounds` is of a mean of numbers between 0 and 1, whatever their distribution.
"""

from functools import lru_cache
from math import exp, inf, lgamma, log, log1p

STAKES = (0.15, 0.3, 0.45, 0.6, 0.8, 0.95)
"""Of the bets behind `anytime_upper_share`, as shares of the capital."""

_TINY = 1e-300
_EXACT = 1e-15
_STEPS = 200
_TERMS = 100_000


def lower_share(good: int, count: int, confidence: float) -> float:
    """Return a bound that the true share of good ones is not below, with that confidence.

    `good` of `count` independent items were good. It is the share under which so many good ones
    or more have probability 1 - confidence; 0 for no item. Raises ValueError for counts that
    cannot be, or a confidence outside (0, 1).
    """
    if not 0 <= good <= count:
        raise ValueError(f"{good} of {count} cannot be. Give a part, then the whole.")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, but must lie between 0 and 1: 0.95, say.")
    return _lower(good, count, 1 - confidence)


def upper_share(bad: int, count: int, confidence: float) -> float:
    """Return a bound that the true share of bad ones is not above, with that confidence.

    The mirror of `lower_share`; 1 for no item.
    """
    return 1 - lower_share(count - bad, count, confidence)


def anytime_upper_share(bad: int, count: int, confidence: float) -> float:
    """Return a bound on the share of bad ones that holds at every count at once.

    The probability that the true share is ever above it, however often one looks, is 1 -
    confidence at most. It is the smallest share that a bet against it refutes (Waudby-Smith &
    Ramdas, arXiv 2010.09686); 1 for no item.
    """
    low, high = bad / max(count, 1), 1.0
    needed = log(1 / (1 - confidence)) + log(len(STAKES))
    for _ in range(40):
        share = (low + high) / 2
        # Written with the counts: the order of the checks does not matter to the capital.
        capital = [
            (count - bad) * log1p(stake * share) + bad * log1p(stake * (share - 1))
            for stake in STAKES
        ]
        most = max(capital)
        refuted = most + log(sum(exp(each - most) for each in capital)) >= needed
        low, high = (low, share) if refuted else (share, high)
    return high


def mean_bounds(mean: float, count: int, confidence: float) -> tuple[float, float]:
    """Return bounds between which the true mean of numbers from 0 to 1 lies, with that confidence.

    `mean` of `count` independent numbers. They hold for every distribution and a count that was
    fixed beforehand (Hoeffding, JASA 58, 1963, theorem 1); 0 and 1 for no number. Raises ValueError
    for a mean outside [0, 1], or a confidence outside (0, 1).
    """
    if not 0 <= mean <= 1:
        raise ValueError(f"mean is {mean}, but the numbers go from 0 to 1.")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, but must lie between 0 and 1: 0.95, say.")
    if count < 1:
        return 0.0, 1.0
    most = log(2 / (1 - confidence)) / count
    return 1 - _upper_mean(1 - mean, most), _upper_mean(mean, most)


def _upper_mean(mean: float, most: float) -> float:
    """Return the largest mean whose divergence from the one that was seen is `most` or less."""
    low, high = mean, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _divergence(mean, middle) <= most else (low, middle)
    return high


def _divergence(p: float, q: float) -> float:
    """Return the Kullback-Leibler divergence of two coins, in nats; p <= q."""
    heads = p * log(p / q) if p > 0 else 0.0
    if p == 1:
        return heads
    return heads + (1 - p) * log((1 - p) / (1 - q)) if q < 1 else inf


@lru_cache(maxsize=65_536)
def _lower(good: int, count: int, error: float) -> float:
    """Return the share p with P(Binomial(count, p) >= good) = error."""
    if good == 0:
        return 0.0
    if good == count:
        return float(error ** (1 / count))
    a, b = float(good), float(count - good + 1)
    scale = lgamma(a + b) - lgamma(a) - lgamma(b)
    low, high, share = 0.0, 1.0, good / count
    # Newton's steps, and halves of what is left where one would lead out of it.
    for _ in range(_STEPS):
        above = _tail(share, a, b, scale) - error
        low, high = (low, share) if above > 0 else (share, high)
        density = exp(scale + (a - 1) * log(share) + (b - 1) * log1p(-share))
        step = above / density if density > 0 else inf
        next_share = share - step
        if not low < next_share < high:
            next_share = (low + high) / 2
        if abs(next_share - share) <= _EXACT * share:
            return next_share
        share = next_share
    return low  # the safe side


def _tail(p: float, a: float, b: float, scale: float) -> float:
    """Return P(Beta(a, b) <= p), which is P(Binomial(a + b - 1, p) >= a)."""
    front = exp(scale + a * log(p) + b * log1p(-p))
    # The fraction converges fast below the mean only.
    if p < (a + 1) / (a + b + 2):
        return front * _fraction(p, a, b) / a
    return 1 - front * _fraction(1 - p, b, a) / b


def _fraction(p: float, a: float, b: float) -> float:
    """Return the continued fraction of the incomplete beta function, by Lentz's method.

    Source: DLMF 8.17.22.
    """
    c, d = 1.0, 1 / _not_zero(1 - (a + b) * p / (a + 1))
    value = d
    for m in range(1, _TERMS):
        even = m * (b - m) * p / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * p / ((a + 2 * m) * (a + 2 * m + 1))
        ratio = 1.0
        for term in (even, odd):
            d = 1 / _not_zero(1 + term * d)
            c = _not_zero(1 + term / c)
            ratio = c * d
            value *= ratio
        if abs(ratio - 1) < _EXACT:
            break
    return value


def _not_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
