"""Scorer: is a cheap reply worth keeping? Predicts what escalating gains; draws no line.

Two estimates are added: trees for the gain itself (quality of the strong reply minus that of the
weak one), which is what counts but noisy, and half the chance that the weak reply is right, which
is learned with less noise. Fitting takes scikit-learn; scoring takes numpy alone, below 1 ms.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .features import Described, describe
from .trees import Trees, fit_trees

Floats = NDArray[np.float64]

_VERSION = 1
_FOLDS = 5
_RIGHT_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Estimate:
    """Of one reply. `score`: higher is better, for a learned threshold.

    `right`: calibrated chance in [0, 1] that it is right. `gain`: calibrated quality that
    escalating is expected to add, in [-1, 1].
    """

    score: float
    right: float
    gain: float


@dataclass(frozen=True, slots=True)
class Curve:
    """A monotone map: points (x, y), linear between them, flat outside."""

    x: Floats
    y: Floats

    def __call__(self, values: Floats) -> Floats:
        """Return (n,) for values (n,)."""
        return np.interp(values, self.x, self.y)

    def to_json(self) -> dict[str, list[float]]:
        """Return plain lists."""
        return {"x": self.x.tolist(), "y": self.y.tolist()}

    @classmethod
    def from_json(cls, read: Mapping[str, Any]) -> "Curve":
        """Read what `to_json` wrote. Raises KeyError for anything else."""
        return cls(np.array(read["x"], np.float64), np.array(read["y"], np.float64))


@dataclass(frozen=True, slots=True)
class GainScorer:
    """A fitted scorer. `names`: the features. `strata`: the kinds of items it has seen.

    A linear model over features and strata, standardised by `center` and `scale`, gives the chance
    that a reply is right; trees over the same give the gain.
    """

    names: tuple[str, ...]
    strata: tuple[str, ...]
    center: Floats
    scale: Floats
    weights: Floats
    bias: float
    trees: Trees
    right: Curve
    gain: Curve

    @property
    def needs_helper(self) -> bool:
        """Whether a helper's answer must be given."""
        return "helper_agrees" in self.names

    def estimate(
        self, ask: str, stratum: str, reply: str, value: str, other: str | None = None
    ) -> Estimate:
        """Judge one reply; see `describe` for what is given.

        Raises ValueError if a helper's answer is missing, or given where none was learned from.
        """
        if (other is not None) != self.needs_helper:
            wanted = "a helper's answer" if self.needs_helper else "no helper's answer"
            raise ValueError(f"This scorer learned with {wanted}; ask it the same way.")
        row = describe(ask, reply, value, other)
        one = Described(tuple(row), np.array([list(row.values())]), [stratum])
        score, right = self.scores(one)
        return Estimate(float(score[0]), float(self.right(right)[0]), float(self.gain(score)[0]))

    def scores(self, items: Described) -> tuple[Floats, Floats]:
        """Return (n,) scores, and (n,) chances of being right that are not calibrated."""
        matrix = _with_strata(items, self.strata)
        right = _sigmoid((matrix - self.center) / self.scale @ self.weights + self.bias)
        return _RIGHT_SHARE * right - self.trees.predict(matrix), right

    def to_json(self) -> str:
        """Write all of it as JSON text."""
        arrays = {name: getattr(self, name).tolist() for name in ("center", "scale", "weights")}
        curves = {"right": self.right.to_json(), "gain": self.gain.to_json()}
        head = {"version": _VERSION, "names": self.names, "strata": self.strata, "bias": self.bias}
        return json.dumps({**head, **arrays, **curves, "trees": self.trees.to_json()})

    @classmethod
    def from_json(cls, text: str) -> "GainScorer":
        """Read what `to_json` wrote. Raises ValueError for another version or features."""
        read: Mapping[str, Any] = json.loads(text)
        if read.get("version") != _VERSION:
            raise ValueError(
                f"The scorer has version {read.get('version')!r}, but {_VERSION} is read. Learn it "
                "again."
            )
        scorer = cls(
            names=tuple(read["names"]),
            strata=tuple(read["strata"]),
            center=np.array(read["center"], np.float64),
            scale=np.array(read["scale"], np.float64),
            weights=np.array(read["weights"], np.float64),
            bias=read["bias"],
            trees=Trees.from_json(read["trees"]),
            right=Curve.from_json(read["right"]),
            gain=Curve.from_json(read["gain"]),
        )
        if scorer.names != tuple(describe("", "", "", "" if scorer.needs_helper else None)):
            raise ValueError("The scorer was learned from other features. Learn it again.")
        return scorer


@dataclass(frozen=True, slots=True)
class Fitted:
    """A scorer, and what it says of its own training items when it has not seen them.

    `scores`, `right`: (n,), out of fold, `right` not calibrated. `losses`: (n,), strong - weak.
    """

    scorer: GainScorer
    scores: Floats
    right: Floats
    losses: Floats


def fit_scorer(items: Described, weak: Floats, strong: Floats, *, seed: int = 0) -> Fitted:
    """Learn from n items with the quality (n,) in [0, 1] of both replies.

    Raises ValueError for fewer than 50 items, or for weak replies that are all right or all wrong.
    """
    if len(weak) < 10 * _FOLDS:
        raise ValueError(f"{len(weak)} items are too few to learn from. Record at least 50.")
    if weak.min() == weak.max():
        raise ValueError("All weak replies are alike good, so there is nothing to learn.")
    strata = tuple(sorted(set(items.strata)))
    matrix, losses = _with_strata(items, strata), strong - weak
    scores, right = np.empty(len(weak)), np.empty(len(weak))
    folds = np.random.default_rng(seed).permutation(len(weak)) % _FOLDS
    for fold in range(_FOLDS):
        held = folds == fold
        model = _fit(
            matrix[~held], weak[~held], losses[~held], names=items.names, strata=strata, seed=seed
        )
        scores[held], right[held] = model.scores(items.at(np.nonzero(held)[0]))
    model = _fit(matrix, weak, losses, names=items.names, strata=strata, seed=seed)
    calibrated = replace(
        model,
        right=_isotonic(right, weak, rising=True),
        gain=_isotonic(scores, losses, rising=False),
    )
    return Fitted(calibrated, scores, right, losses)


def _fit(
    matrix: Floats,
    weak: Floats,
    losses: Floats,
    *,
    names: tuple[str, ...],
    strata: tuple[str, ...],
    seed: int,
) -> GainScorer:
    from sklearn.linear_model import (  # noqa: PLC0415  # scikit-learn is slow to import
        LogisticRegression,
    )

    center, scale = matrix.mean(axis=0), matrix.std(axis=0)
    scale[scale == 0] = 1.0
    # Every item is there twice, as right and as wrong, weighted by its quality: qualities between
    # 0 and 1 are then no special case.
    twice = np.tile((matrix - center) / scale, (2, 1))
    labels, shares = np.repeat([1, 0], len(weak)), np.concatenate((weak, 1 - weak))
    logistic: Any = LogisticRegression(C=0.03, max_iter=500)
    logistic.fit(twice[shares > 0], labels[shares > 0], shares[shares > 0])
    nothing = Curve(np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    return GainScorer(
        names,
        strata,
        center,
        scale,
        weights=logistic.coef_[0],
        bias=float(logistic.intercept_[0]),
        trees=fit_trees(matrix, losses, seed=seed),
        right=nothing,
        gain=nothing,
    )


def _isotonic(values: Floats, target: Floats, *, rising: bool) -> Curve:
    from sklearn.isotonic import IsotonicRegression  # noqa: PLC0415  # slow to import

    isotonic: Any = IsotonicRegression(increasing=rising, out_of_bounds="clip")
    isotonic.fit(values, target)
    return Curve(np.array(isotonic.X_thresholds_), np.array(isotonic.y_thresholds_))


def _with_strata(items: Described, strata: tuple[str, ...]) -> Floats:
    known = np.array([[each == name for name in strata] for each in items.strata], np.float64)
    return np.hstack((items.matrix, known.reshape(len(items.strata), len(strata))))


def _sigmoid(values: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(values, -500, 500)))
