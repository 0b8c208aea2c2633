"""Verifier: how likely two questions have the same answer, learned from checks. Decides nothing.

Logistic regression on the features, their squares and products; refitted as checks come in. Its
probabilities are only a ranking here: what may be served is proven apart from them (proof.py).
"""

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_FIRST_FIT = 40
_REFIT_GROWTH = 1.2
_KEPT = 5000
"""How many of the newest checks are learned from."""

_CLIP = 5.0
_MOST_ODDS = 12.0
_MOST_WEIGHT = 30.0
_RIDGE = 100.0
# The wording's features are many and noisy: they count once there is much to learn from.
_RIDGE_OF_THE_REST = 1000.0
_STEPS = 12
_LEAST_STEP = 1e-3
_ROUNDING = 1 + 1e-9


class Verifier:
    """Learns which matches are right. Not thread-safe. `crossed`: features that are multiplied."""

    def __init__(self, features: int, crossed: int) -> None:
        self._features = features
        self._rows, self._columns = np.triu_indices(crossed)
        width = 1 + features + len(self._rows)
        self._ridge = np.full(width, _RIDGE)
        self._ridge[1 + crossed : 1 + features] = _RIDGE_OF_THE_REST
        self._ridge[0] = 1e-3
        self._seen: deque[tuple[tuple[float, ...], bool, float]] = deque(maxlen=_KEPT)
        self._learned = 0
        self._due = _FIRST_FIT
        self._mean: Floats = np.zeros(features)
        self._scale: Floats = np.ones(features)
        self._weights: Floats | None = None

    def score(self, features: Sequence[float]) -> float:
        """Return the probability that a match is right; 0 before there is enough to learn from."""
        if self._weights is None:
            return 0.0
        row = self._terms(np.asarray(features)[None])[0]
        odds = float(row @ self._weights)
        return float(1 / (1 + np.exp(-np.clip(odds, -_MOST_ODDS, _MOST_ODDS))))

    def learn(self, features: tuple[float, ...], *, right: bool, weight: float) -> None:
        """Take in one check. `weight`: one over the probability that it was checked."""
        self.remember(features, right=right, weight=weight)
        if self._learned >= self._due:
            self.fit()

    def remember(self, features: tuple[float, ...], *, right: bool, weight: float) -> None:
        """Take in one check without fitting; call `fit` after the last."""
        if len(features) == self._features and np.isfinite(features).all():
            self._seen.append((features, right, min(weight, _MOST_WEIGHT)))
            self._learned += 1

    def fit(self) -> None:
        """Fit to the checks that were taken in."""
        self._due = int(self._learned * _REFIT_GROWTH) + 10
        if len(self._seen) < _FIRST_FIT:
            return
        features = np.array([each[0] for each in self._seen])
        right = np.array([each[1] for each in self._seen], dtype=np.float64)
        weight = np.array([each[2] for each in self._seen])
        self._mean, self._scale = features.mean(0), features.std(0) + 1e-6
        begin = np.zeros_like(self._ridge) if self._weights is None else self._weights
        found = _logistic(self._terms(features), right, weight, self._ridge, begin)
        # Nothing is better than a ranking that is none.
        self._weights = found if np.isfinite(found).all() else None

    def _terms(self, features: Floats) -> Floats:
        z = np.clip((features - self._mean) / self._scale, -_CLIP, _CLIP)
        ones = np.ones((len(z), 1))
        return np.hstack((ones, z, z[:, self._rows] * z[:, self._columns]))


def _logistic(rows: Floats, right: Floats, weight: Floats, ridge: Floats, begin: Floats) -> Floats:
    """Return the weights of a ridge logistic regression, by Newton's method from `begin`."""
    found = begin.copy()
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(rows @ found, -30, 30)))
        slope = rows.T @ (weight * (right - chance)) - ridge * found
        bend = (rows * (weight * chance * (1 - chance))[:, None]).T @ rows + np.diag(ridge)
        step = np.linalg.solve(bend, slope)
        # A whole step may lead far off where the last fit was of another world.
        most = _loss(rows, right, weight, ridge, found) * _ROUNDING
        while _loss(rows, right, weight, ridge, found + step) > most:
            step /= 2
            if np.abs(step).max() < _LEAST_STEP:
                break
        found += step
        if np.abs(step).max() < _LEAST_STEP:
            break
    return found


def _loss(rows: Floats, right: Floats, weight: Floats, ridge: Floats, weights: Floats) -> float:
    odds = rows @ weights
    return float(weight @ (np.logaddexp(0, odds) - right * odds) + ridge @ weights**2 / 2)
