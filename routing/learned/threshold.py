"""Threshold: which scores may be accepted, so that quality provably holds? Scores nothing itself.

Learn-then-Test (arXiv 2110.01052): thresholds are tested in an order that was fixed on other items;
the first that fails ends it, so that all of them share one error. The last that passed is taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .evidence import log_wealth, needed_log_wealth

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Learned:
    """A proven threshold. `accepted`, `loss`: share and mean loss of the calibration items.

    `loss` counts an item that is not accepted as 0. `items`: how many there were. `tested`: how
    many thresholds, this one included, passed.
    """

    threshold: float
    accepted: float
    loss: float
    items: int
    tested: int
    max_loss: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """No cascade. `reason`: one sentence with its numbers."""

    reason: str


def learn_threshold(
    scores: Floats,
    losses: Floats,
    *,
    max_loss: float,
    confidence: float,
    path: Sequence[float],
    exact: bool = True,
) -> Learned | Refusal:
    """Return the last threshold of `path` before one that is not proven, or why there is none.

    `scores`: (n,), an item is accepted at a threshold that it reaches. `losses`: (n,) in [-1, 1],
    what accepting it costs: quality of the strong reply minus that of the weak one. With a
    probability of `confidence`, accepting by the answer costs less than `max_loss` per item, those
    that are not accepted included. `path`: thresholds, best first, chosen without these items.
    `exact`: take the exact bound where all losses are -1, 0 or 1, as between right and wrong; else
    Markov's, as for all others.

    Raises ValueError for a `max_loss` or a `confidence` that is not between 0 and 1, and for losses
    outside [-1, 1].
    """
    if not (0 < max_loss < 1 and 0 < confidence < 1):
        raise ValueError(
            f"max_loss is {max_loss} and confidence {confidence}, but both are between 0 and 1."
        )
    if not len(scores) or not len(path):
        return Refusal("Nothing can be proven: there are no calibration items or no thresholds.")
    exact = exact and bool(np.isin(losses, (-1, 0, 1)).all())
    needed = needed_log_wealth(len(scores), max_loss, 1 - confidence, exact=exact)
    passed = 0
    for threshold in path:
        if log_wealth(np.where(scores >= threshold, losses, 0.0), max_loss) < needed:
            break
        passed += 1
    at = path[max(passed - 1, 0)]
    accepted = scores >= at
    share, loss = float(accepted.mean()), float((losses * accepted).mean())
    if not passed:
        return Refusal(
            f"Not even the safest threshold is proven: accepting {share:.0%} of {len(scores)} "
            f"items cost {loss:.2%} of quality, which does not show at {confidence:.0%} confidence "
            f"that it is less than {max_loss:.2%}. Label more items, or allow a larger loss."
        )
    return Learned(float(at), share, loss, len(scores), passed, max_loss, confidence)


def plan_path(
    scores: Floats, losses: Floats, *, max_loss: float, least: float = 0.1, step: float = 0.01
) -> tuple[float, ...]:
    """Return thresholds to test on other items, from the one likeliest to pass to lower ones.

    `scores`, `losses`: (n,), of training items, out of fold. `least`: the least share of items
    worth accepting. `step`: between two thresholds, in shares of items.
    """
    order = np.argsort(-scores, kind="stable")
    kept = np.cumsum(losses[order]), np.cumsum(losses[order] ** 2)
    counts = np.unique(np.round(np.arange(least, 1 + step / 2, step) * len(scores)).astype(int))
    counts = counts[(counts > 0) & (counts <= len(scores))]
    if not len(counts):
        return ()
    mean, square = kept[0][counts - 1] / len(scores), kept[1][counts - 1] / len(scores)
    # One more item in discord keeps a threshold with none from looking infinitely safe.
    spread = np.sqrt(square + 1 / len(scores) - mean**2)
    start = int(np.argmax((max_loss - mean) / spread))
    return tuple(float(scores[order[count - 1]]) for count in counts[start:])


def equal_quality_threshold(scores: Floats, losses: Floats, *, max_loss: float = 0.0) -> float:
    """Return the lowest threshold with an expected loss of `max_loss` at most; proves nothing.

    `scores`, `losses`: (n,), as for `learn_threshold`. The cumulative loss is smoothed over 4 % of
    the items, since the last of many chance crossings would be too lucky. Infinity: accept none.
    """
    order = np.argsort(-scores, kind="stable")
    lost = np.concatenate(([0.0], np.cumsum(losses[order]))) / max(len(scores), 1)
    half = max(len(scores) // 50, 1)
    padded = np.concatenate((np.full(half, lost[0]), lost, np.full(half, lost[-1])))
    smooth = np.convolve(padded, np.full(2 * half + 1, 1 / (2 * half + 1)), mode="valid")
    below = np.nonzero(smooth <= max_loss)[0]
    return float(scores[order[below[-1] - 1]]) if len(below) and below[-1] else float("inf")
