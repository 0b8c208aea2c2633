"""Linear models that say of their own training items what they would say unseen. Reads no text."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_FAR = 5.0
_BENDS = (0.25, 0.5, 0.75)
_STEPS = 12
_CONVERGED = 1e-3
_LEAST_SLOPE = 1e-6


@dataclass(frozen=True, slots=True)
class Scaling:
    """Centers (d,) and scales (d,) of columns; what lies further out than 5 is drawn in."""

    center: Floats
    scale: Floats

    def __call__(self, matrix: Floats) -> Floats:
        """Return the columns of (..., d) standardised."""
        # Not np.clip: on a single row it costs more than the arithmetic.
        return np.minimum(np.maximum((matrix - self.center) / self.scale, -_FAR), _FAR)

    @classmethod
    def of(cls, matrix: Floats) -> "Scaling":
        """Measure (n, d). A column that never varies counts for nothing."""
        scale = matrix.std(axis=0)
        return cls(matrix.mean(axis=0), np.where(scale < 1e-9, np.inf, scale))


@dataclass(frozen=True, slots=True)
class Linear:
    """(d,) numbers to (k,): standardise, `weights` (d, k), add `bias` (k,)."""

    scaling: Scaling
    weights: Floats
    bias: Floats

    def __call__(self, matrix: Floats) -> Floats:
        """Return (..., k) for (..., d)."""
        return self.scaling(matrix) @ self.weights + self.bias

    def to_json(self) -> dict[str, Any]:
        """Return plain lists of numbers; a scale that is infinite is written as 0."""
        finite = np.isfinite(self.scaling.scale)
        return {
            "center": plain(self.scaling.center),
            "scale": plain(np.where(finite, self.scaling.scale, 0.0)),
            "weights": plain(self.weights),
            "bias": plain(self.bias),
        }

    @classmethod
    def from_json(cls, read: Mapping[str, Any]) -> "Linear":
        """Read what `to_json` wrote."""
        found = {name: np.array(read[name], np.float64) for name in read}
        scale = np.where(found["scale"] == 0, np.inf, found["scale"])
        return cls(Scaling(found["center"], scale), found["weights"], found["bias"])


@dataclass(frozen=True, slots=True)
class Bent:
    """(d,) numbers to (k,), along lines that bend. `knots`: (3, d), where; `linear`: of 4 d."""

    knots: Floats
    linear: Linear

    def __call__(self, matrix: Floats) -> Floats:
        """Return (..., k) for (..., d)."""
        return self.linear(_bend(matrix, self.knots))

    def to_json(self) -> dict[str, Any]:
        """Return plain lists of numbers."""
        return {"knots": plain(self.knots), "linear": self.linear.to_json()}

    @classmethod
    def from_json(cls, read: Mapping[str, Any]) -> "Bent":
        """Read what `to_json` wrote."""
        return cls(np.array(read["knots"], np.float64), Linear.from_json(read["linear"]))


def plain(values: Floats) -> list[Any]:
    """Return lists of numbers with ten digits, which is more than was learned."""
    rounded = np.array([float(f"{each:.10g}") for each in values.ravel()], np.float64)
    listed: Any = rounded.reshape(values.shape).tolist()
    return list(listed)


def fit_ridge(matrix: Floats, targets: Floats, penalty: float) -> tuple[Linear, Floats]:
    """Learn (n, d) to (n, k); also return (n, k) as each item is predicted without itself."""
    scaling = Scaling.of(matrix)
    x, mean = scaling(matrix), targets.mean(axis=0)
    solve = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T)
    weights = solve @ (targets - mean)
    leverage = np.einsum("ij,ji->i", x, solve) + 1 / len(x)
    unseen = targets - (targets - x @ weights - mean) / (1 - leverage)[:, None]
    return Linear(scaling, weights, mean), unseen


def fit_bent(matrix: Floats, targets: Floats, penalty: float) -> tuple[Bent, Floats]:
    """Learn as `fit_ridge` does, but each number's line may bend at its quartiles."""
    knots: Floats = np.quantile(matrix, _BENDS, axis=0)
    linear, unseen = fit_ridge(_bend(matrix, knots), targets, penalty)
    return Bent(knots, linear), unseen


def fit_logistic(x: Floats, target: Floats, penalty: float) -> tuple[Floats, Floats]:
    """Learn (n, d) to the chance of (n,) in [0, 1].

    Returns the weights (d + 1,), bias last, and (n,) chances of each item without itself: the
    approximate leave-one-out of a generalised linear model, one Newton step from the whole fit.
    """
    x = np.hstack((x, np.ones((len(x), 1))))
    share = np.clip(target.mean(), 1e-3, 1 - 1e-3)
    weights = np.zeros(x.shape[1])
    weights[-1] = np.log(share / (1 - share))
    penalties = np.full(x.shape[1], penalty)
    penalties[-1] = _LEAST_SLOPE
    for _ in range(_STEPS):
        chance = sigmoid(x @ weights)
        slope = chance * (1 - chance) + _LEAST_SLOPE
        bent = (x * slope[:, None]).T @ x + np.diag(penalties)
        step = np.linalg.solve(bent, x.T @ (target - chance) - penalties * weights)
        weights = weights + step
        if np.abs(step).max() < _CONVERGED:
            break
    chance = sigmoid(x @ weights)
    slope = chance * (1 - chance) + _LEAST_SLOPE
    inverse = np.linalg.inv((x * slope[:, None]).T @ x + np.diag(penalties))
    leverage = np.einsum("ij,ij->i", x @ inverse, x)
    without = x @ weights - leverage / (1 - slope * leverage) * (target - chance)
    return weights, sigmoid(without)


def _bend(matrix: Floats, knots: Floats) -> Floats:
    above = np.maximum(matrix[..., None, :] - knots, 0)
    return np.concatenate((matrix, above.reshape(*matrix.shape[:-1], -1)), axis=-1)


def sigmoid(values: Floats) -> Floats:
    """Return chances for logits of any size."""
    return 1 / (1 + np.exp(-np.minimum(np.maximum(values, -50.0), 50.0)))
