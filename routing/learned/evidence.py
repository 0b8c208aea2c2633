"""Evidence: how sure recorded losses make us that a rule costs less than was promised.

The statistic is the wealth of bettors against the null hypothesis "the mean loss is `max_loss` or
more" (arXiv 2010.09686). Bettors stake different shares of what they have, and their mean counts.
It needs 1 / error by Markov's inequality. For losses of -1, 0 and 1 alone, as between answers that
are right or wrong, the wealth that is needed is computed exactly: about a tenth of that.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_STAKES = 24
_LEAST_STAKE = 0.01
_MOST_STAKE = 0.95
_MOST_EXACT = 20_000
_RATES = 160
_STEPS = 16
# The largest chance is looked for on a grid; its rates are so close that this covers the rest.
_CUSHION = 0.99


def log_wealth(losses: Floats, max_loss: float) -> float:
    """Return the logarithm of what bettors against "mean loss >= max_loss" own, having begun at 1.

    `losses`: (n,) in [-1, 1]. The same for any order of the losses. Its exponential has an expected
    value of 1 at most where the null hypothesis is true. Raises ValueError for other losses.
    """
    if len(losses) and not (losses.min() >= -1 and losses.max() <= 1):
        raise ValueError(
            "A loss is not in [-1, 1]. Take the difference of two qualities in [0, 1]."
        )
    values, counts = np.unique(losses, return_counts=True)
    grown: Floats = np.log1p(_stakes(max_loss)[:, None] * (max_loss - values)) @ counts.astype(
        np.float64
    )
    return float(_log_mean(grown[None])[0])


def is_less(losses: Mapping[int, int], count: int, max_loss: float, confidence: float) -> bool:
    """Tell whether losses of -1, 0 and 1 prove, with that confidence, a mean below `max_loss`.

    `losses`: how many items lost 1 and how many -1, of `count` in all.
    """
    values = np.repeat(
        np.array([1.0, -1.0, 0.0]),
        [losses[1], losses[-1], count - losses[1] - losses[-1]],
    )
    needed = needed_log_wealth(count, max_loss, 1 - confidence, exact=True)
    return log_wealth(values, max_loss) >= needed


def needed_log_wealth(count: int, max_loss: float, error: float, *, exact: bool) -> float:
    """Return the log wealth that is reached with a chance of `error` at most under the null.

    `exact`: all losses are -1, 0 or 1; above 20,000 items it makes no difference.
    """
    markov = float(-np.log(error))
    return _exact(count, max_loss, error) if exact and 0 < count <= _MOST_EXACT else markov


def _stakes(max_loss: float) -> Floats:
    # A geometric series: the mean of the bettors then does alike well at every spread of losses.
    return np.geomspace(_LEAST_STAKE, _MOST_STAKE, _STAKES) / (1 - max_loss)


def _log_mean(grown: Floats) -> Floats:
    top = grown.max(axis=1)
    return cast("Floats", top + np.log(np.exp(grown - top[:, None]).mean(axis=1)))


@lru_cache(maxsize=64)
def _exact(count: int, max_loss: float, error: float) -> float:
    """Find the least log wealth with a chance of `error` at most, whatever the share of discord.

    Discord: items with a loss of -1 or 1. Given m of them, the wealth falls with the number of
    losses of 1, which is binomial with (1 + max_loss / rate) / 2 or more under the null.
    """
    rates = np.geomspace(max_loss, 1, _RATES)
    low, high = 0.0, float(-np.log(error))
    for _ in range(_STEPS):
        middle = (low + high) / 2
        chance = _chances(_most_losses(count, max_loss, middle), rates, count, max_loss).max()
        low, high = (low, middle) if chance <= _CUSHION * error else (middle, high)
    return high


def _most_losses(count: int, max_loss: float, least: float) -> NDArray[np.intp]:
    """Return (count + 1,): of m items in discord, how many may lose while `least` is reached."""
    discord = np.arange(count + 1)
    stakes = _stakes(max_loss)
    lost, won = np.log1p(stakes * (max_loss - 1)), np.log1p(stakes * (max_loss + 1))
    drawn = np.log1p(stakes * max_loss)
    low, high = np.full(count + 1, -1), discord.copy()
    while np.any(low < high):
        middle = (low + high + 1) // 2
        grown = (
            np.outer(middle, lost)
            + np.outer(discord - middle, won)
            + np.outer(count - discord, drawn)
        ).astype(np.float64)
        reached = _log_mean(grown) >= least
        low, high = np.where(reached, middle, low), np.where(reached, high, middle - 1)
    return low


def _chances(most: NDArray[np.intp], rates: Floats, count: int, max_loss: float) -> Floats:
    """Return the chance of reaching the wealth at each rate of discord, if the null just holds."""
    from scipy.stats import binom  # noqa: PLC0415  # scipy is slow to import

    stats: Any = binom
    found = np.empty(len(rates))
    for at, rate in enumerate(rates):
        first, last = stats.interval(1 - 1e-9, count, rate)
        discord = np.arange(max(int(first), 0), int(last) + 1)
        share = min((1 + max_loss / rate) / 2, 1.0)
        reached = stats.cdf(most[discord], discord, share)
        found[at] = stats.pmf(discord, count, rate) @ reached + 1e-9
    return found
