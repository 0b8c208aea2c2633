"""vCache policy: how another decides, for comparison. Written from its paper, not its code."""

from collections.abc import Callable
from dataclasses import dataclass
from math import log
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

_DOUBTS = np.linspace(0.001, 0.5, 50)
_QUANTILES = np.array([NormalDist().inv_cdf(1 - doubt) for doubt in _DOUBTS])
_STEPS = 25
_RIDGE = 1e-6
# Odds of 10,000 to 1 at the checks on either side of the threshold.
_SURE_ODDS = 2 * log(10_000)


class VCache:
    """vCache's policy: one threshold per kept question, learned from checks of its answer.

    Source: Schroeder et al., arXiv 2502.03771. Of each kept question it holds pairs of
    similarity and whether the answer was right, and models the latter as a sigmoid of slope g
    around t. With the estimate's uncertainty it bounds the probability of being right from below,
    for each of many confidences 1 - e by (1 - e) * sigmoid(g * (s - t_e)), t_e being t's upper
    e-quantile. It asks with the least probability that keeps wrong answers per *request* under
    `delta`, given any of these bounds. The first 4 checks of each are always made. As in the
    authors' system, a question is kept only if the nearest one's answer did not fit it.

    Where one threshold separates the checks, as it mostly does, maximum likelihood has no end: the
    slope grows without limit, and t may be anywhere between. The authors' code has a table for
    that, which is not taken over. Here the slope ends where the nearest checks are 99.99% sure, t
    is in the middle, and its variance is that of a uniform one over n, 1 / 12n. Of the rules that
    were tried this one serves most among those under which vCache keeps its own promise, wrong
    per request, on the streams here; with Firth's penalised likelihood (Heinze & Schemper 2002)
    it serves less than half as much.
    """

    least = -1.0

    def __init__(self, delta: float, chance: Callable[[], float], first_checks: int = 4) -> None:
        self._delta, self._chance, self._first = delta, chance, first_checks
        self._seen: dict[int, tuple[list[float], list[float]]] = {}
        self._fits: dict[int, SigmoidFit] = {}

    def serves(self, nearest: int, cosine: float) -> bool:
        """Serve unless this time is one of those in which it explores."""
        seen = self._seen.get(nearest)
        if seen is None or len(seen[0]) < self._first + 2:
            return False
        if nearest not in self._fits:
            self._fits[nearest] = SigmoidFit.of(np.array(seen[0]), np.array(seen[1]))
        return self._chance() >= self.exploring(self._fits[nearest], cosine)

    def exploring(self, fit: "SigmoidFit", cosine: float) -> float:
        """Return the probability of asking, given a kept question's fit and a similarity."""
        right = (1 - _DOUBTS) * _sigmoid(fit.slope * (cosine - fit.middle - _QUANTILES * fit.sd))
        return float(np.clip(1 - self._delta / (1 - right), 0, 1).min())

    def keeps(self, nearest: int, cosine: float, *, same: bool) -> bool:
        """Learn from the check. Keep the new question only if the answers differ."""
        # Two made-up checks anchor every fit: at similarity 0 it is wrong, at 1 it is right.
        cosines, right = self._seen.setdefault(nearest, ([0.0, 1.0], [0.0, 1.0]))
        cosines.append(cosine)
        right.append(float(same))
        self._fits.pop(nearest, None)
        return not same


@dataclass(frozen=True, slots=True)
class SigmoidFit:
    """The probability of being right as sigmoid(slope * (s - middle)); `sd` of the middle."""

    slope: float
    middle: float
    sd: float

    @classmethod
    def of(cls, s: Floats, right: Floats) -> "SigmoidFit":
        """Fit to checks at similarities `s`, (n,), of which `right` is 0 or 1, some of each.

        By maximum likelihood; see VCache for checks that one threshold separates.
        """
        highest_wrong, lowest_right = float(s[right == 0].max()), float(s[right == 1].min())
        if highest_wrong < lowest_right:
            gap = lowest_right - highest_wrong
            return cls(_SURE_ODDS / gap, highest_wrong + gap / 2, (12 * len(s)) ** -0.5)
        middle, spread = float(s.mean()), float(s.std())
        rows = np.stack((np.ones_like(s), (s - middle) / spread), axis=1)
        weights: Floats = np.zeros(2)
        cover: Floats = np.eye(2)
        for _ in range(_STEPS):
            chance = _sigmoid(rows @ weights)
            bend = (rows * (chance * (1 - chance))[:, None]).T @ rows
            cover = np.asarray(np.linalg.inv(bend + _RIDGE * np.eye(2)), np.float64)
            step = cover @ (rows.T @ (right - chance) - _RIDGE * weights)
            weights += step
            if np.abs(step).max() < 1e-4:
                break
        if weights[1] <= 0:
            return cls(0.0, 1.0, 1.0)
        # t = -w0 / w1, so that its gradient is (-1, -t) / w1.
        t = -float(weights[0] / weights[1])
        gradient = -np.array((1.0, t)) / weights[1]
        sd = float(np.sqrt(gradient @ cover @ gradient))
        return cls(float(weights[1]) / spread, middle + spread * t, spread * sd)


def _sigmoid(odds: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(odds, -35, 35)))
