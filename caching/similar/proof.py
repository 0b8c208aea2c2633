"""Proof: from which score on hits are wrong rarely enough, and that this is proven. No I/O.

For each level of a ladder of doubts (probabilities of being wrong that the verifier gives) runs a
bet against "hits up to this doubt are wrong at least as often as promised": capital that grows
with every right check and shrinks with every wrong one. If that were true, the capital would ever
reach 1/d with probability d at most, whenever one looks (Ville's inequality). So a level whose
capital is there is proven at any time, not just once. Betting: Waudby-Smith & Ramdas, arXiv
2010.09686. Levels are tested from fixed first ones towards greater doubt, each only after the one
before it, so that many levels cost no confidence (fixed-sequence testing).

What is refuted is that hits were wrong that often all along. It says something of the next hit as
far as questions keep coming from where the checked ones came from, and a refitted verifier ranks
no worse than those before it. Each partition's own proof, each restart of a process and each alarm
begin new bets with the full confidence. Against drift the checks of served hits are watched for a
rate of three times the promise (CUSUM, Page 1954): an alarm throws all proof away.
"""

from math import log, sqrt

import numpy as np
from numpy.typing import NDArray

from ...bounds import STAKES

Floats = NDArray[np.float64]

LADDER = (0.25, 0.5, 1, 1.5, 2, 2.5, 3, 4, 5, 6.5, 8, 10, 13)
"""Levels of doubt, as multiples of the promised rate."""

_MOST_DOUBT = 0.6
_STARTS = ((2, 0.7), (0, 0.3))
"""Where the two sequences of levels begin, and the share of the confidence that each spends."""

_STAKES = np.array(STAKES)
_BEGINNINGS = (0, 500, 2500, 10_000)
"""After how many checks a further bet begins: early checks were made with a poor verifier."""

_FIRST_HITS = 0.75
"""The part of the promise at which the first hits, one over the promise of them, are proven."""

_DRIFT_RATE = 3.0
_DRIFT_ALARM = 7.0

_FULL_AUDITS = 5.0
"""So many times one over the promise would-be hits are checked before the share of checks falls."""
_LEAST_AUDIT = 0.03
_SURE_AUDIT = 0.3


class Proof:
    """What is proven of hits at each level. Not thread-safe.

    `promise`: the share of wrong hits among hits that must not be passed; `confidence` that it
    is not. Both in (0, 1).
    """

    def __init__(self, promise: float, confidence: float) -> None:
        self.promise = promise
        self.spare = 1 - confidence
        self.limits = np.minimum(np.array(LADDER) * promise, _MOST_DOUBT)
        # The first hits are few, and one wrong among them would break the promise at once: until
        # there are enough, only what is proven at less than it is served.
        self._targets = np.array((_FIRST_HITS * promise, promise))
        self._reset()

    def _reset(self) -> None:
        self._capital = np.zeros((0, 2, len(LADDER), len(_STAKES)))
        self.checked = 0
        self.wrong = 0
        self.hits = 0.0
        self._would_serve = 0.0
        self._drift = 0.0
        self._level = -1
        self._begin()

    def _begin(self) -> None:
        fresh = np.zeros((1, *(2, len(LADDER), len(_STAKES))))
        self._capital = np.concatenate((self._capital, fresh))

    @property
    def level(self) -> int:
        """The greatest level that is proven, -1 if none is."""
        return self._level

    @property
    def limit(self) -> float:
        """The greatest doubt that may be served; below 0 if none."""
        return float(self.limits[self._level]) if self._level >= 0 else -1.0

    def audit_share(self, doubt: float) -> float:
        """Return the probability with which a hit of this doubt is to be checked instead."""
        at = int(np.searchsorted(self.limits, doubt))
        limit = float(self.limits[min(at, len(LADDER) - 1)])
        eagerness = min(2.0, max(_SURE_AUDIT, sqrt(limit / self.promise / 2)))
        return min(1.0, self._base_share() * eagerness)

    def add(self, *, doubt: float, right: bool, weight: float, would_serve: bool) -> bool:
        """Take in a check. `weight`: one over the probability of it. Tell whether drift is seen."""
        at = int(np.searchsorted(self.limits, doubt))
        if at == len(LADDER):
            return False
        # Hits are checked less often than near misses, so a near miss counts that much less.
        least = self._base_share() * _SURE_AUDIT if self._level >= 0 else 1.0
        stake = _STAKES * min(1.0, least * weight)
        gain = self._targets[:, None] - (not right)
        self._capital[:, :, at:] += np.log1p(stake * gain)[:, None]
        self.checked += 1
        self.wrong += not right
        if would_serve:
            self._would_serve += weight
            self.hits += weight - 1
            if self._drifts(right=right):
                self._reset()
                return True
        begun = len(self._capital)
        if begun < len(_BEGINNINGS) and self.checked >= _BEGINNINGS[begun]:
            self._begin()
        self._level = self._proven()
        return False

    def evidence(self) -> float:
        """Return how far the easiest level is: 1 when it is proven, 0 at the start."""
        strength = self._strength()
        return max(
            max(0.0, float(strength[start])) / log(1 / (self.spare * share))
            for start, share in _STARTS
        )

    def _base_share(self) -> float:
        full = _FULL_AUDITS / self.promise
        return max(_LEAST_AUDIT, min(1.0, full / max(self._would_serve, 1.0)))

    def _strength(self) -> Floats:
        """Log of the mean capital of each level, the best of the bets."""
        capital = self._capital[:, 0 if self.hits < 1 / self.promise else 1]
        most = capital.max(axis=2)
        mean = most + np.log(np.exp(capital - most[:, :, None]).mean(axis=2))
        # The first bet has half of the confidence, the next a quarter, and so on.
        spent = log(2) * (np.arange(len(mean)) + 1)
        strength: Floats = (mean - spent[:, None]).max(axis=0)
        return strength

    def _proven(self) -> int:
        strength, proven = self._strength(), -1
        for start, share in _STARTS:
            needed, at = log(1 / (self.spare * share)), start
            while at < len(LADDER) and strength[at] >= needed:
                at += 1
            if at > start:
                proven = max(proven, at - 1)
        return proven

    def _drifts(self, *, right: bool) -> bool:
        more = _DRIFT_RATE * self.promise
        if more >= 1:
            return False
        step = log((1 - more) / (1 - self.promise)) if right else log(_DRIFT_RATE)
        self._drift = max(0.0, self._drift + step)
        return self._drift > _DRIFT_ALARM
