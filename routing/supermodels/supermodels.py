"""Supermodels: how good is a set of models as one, which answers with the best of theirs.

Given what was run, S, each set T around it has the quality of the answer that would be chosen
after running all of T. Two estimates of it: Gaussian is the published one (arXiv 2410.10347);
Chosen learns it, and is better wherever errors are larger for some items than for others.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .estimates import Learned, members
from .linear import fit_logistic, plain, sigmoid

Floats = NDArray[np.float64]

_PENALTY = 30.0
_POINTS = 128
_JITTER = 1e-9


class Supermodels(Protocol):
    """Estimates the quality of every set T around the set S that was run."""

    def quality(self, run: int, chances: Floats, design: Floats) -> Floats:
        """Return (n, 2**k) for chances (n, k) and design (n, d); -inf where T lacks some of S."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Return plain lists and numbers."""
        ...


@dataclass(frozen=True, slots=True)
class Chosen:
    """Learned: the chance that what is chosen at T is right, by a logistic model for each S, T.

    `sets`: by S, the sets T that are learned. `weights`: by S, (d + 1, sets), bias last.
    """

    sets: Mapping[int, tuple[int, ...]]
    weights: Mapping[int, Floats]

    def quality(self, run: int, chances: Floats, design: Floats) -> Floats:
        """See Supermodels."""
        found = _known(run, chances)
        if self.sets[run]:
            weights = self.weights[run]
            found[:, self.sets[run]] = sigmoid(design @ weights[:-1] + weights[-1])
        return found

    def to_json(self) -> dict[str, Any]:
        """Return plain lists and numbers."""
        return {
            "kind": "chosen",
            "sets": {str(run): list(sets) for run, sets in self.sets.items()},
            "weights": {str(run): plain(weights) for run, weights in self.weights.items()},
        }


@dataclass(frozen=True, slots=True)
class Gaussian:
    """Published: E max over T of N(chances, covariance of S), over fixed Sobol points.

    `shifts`: by S, (points, k), the points times the covariance's Cholesky factor.
    """

    shifts: Mapping[int, Floats]

    def quality(self, run: int, chances: Floats, design: Floats) -> Floats:  # noqa: ARG002  # the Protocol's form
        """See Supermodels."""
        found = _known(run, chances)
        drawn = chances[:, None, :] + self.shifts[run]
        for group in range(1, found.shape[1]):
            if group & run == run and not np.isfinite(found[0, group]):
                models = members(group, chances.shape[1])
                found[:, group] = drawn[:, :, models].max(axis=2).mean(axis=1)
        return found

    def to_json(self) -> dict[str, Any]:
        """Return plain lists and numbers."""
        shifts = {str(run): plain(each) for run, each in self.shifts.items()}
        return {"kind": "gaussian", "shifts": shifts}


AnySupermodels: TypeAlias = Chosen | Gaussian


def read_supermodels(read: Mapping[str, Any]) -> AnySupermodels:
    """Read what `to_json` wrote. Raises ValueError for an unknown kind."""
    match read.get("kind"):
        case "chosen":
            return Chosen(
                {int(run): tuple(sets) for run, sets in read["sets"].items()},
                {int(run): np.array(each) for run, each in read["weights"].items()},
            )
        case "gaussian":
            return Gaussian({int(run): np.array(each) for run, each in read["shifts"].items()})
        case kind:
            raise ValueError(f"Supermodels of kind {kind!r} are not known. Fit again.")


def learn_chosen(learned: Learned, quality: Floats) -> tuple[Chosen, dict[int, Floats]]:
    """Learn from the quality (n, k) of n items.

    Also returns, by S, the (n, 2**k) qualities of the same items, each without itself.
    """
    count = quality.shape[1]
    rows = np.arange(len(quality))
    right = {
        group: quality[rows, choose(group, learned.chances[group])]
        for group in range(1, 1 << count)
    }
    sets, weights, unseen = dict[int, tuple[int, ...]](), dict[int, Floats](), dict[int, Floats]()
    for run, design in learned.designs.items():
        unseen[run] = _known(run, learned.chances[run])
        known = np.isfinite(unseen[run][0])
        sets[run] = tuple(T for T in range(1, 1 << count) if T & run == run and not known[T])
        fitted = [fit_logistic(design, right[group], _PENALTY) for group in sets[run]]
        for group, (_, chances) in zip(sets[run], fitted, strict=True):
            unseen[run][:, group] = chances
        if fitted:
            weights[run] = np.stack([each for each, _ in fitted], axis=1)
    return Chosen(sets, weights), unseen


def learn_gaussian(learned: Learned) -> tuple[Gaussian, dict[int, Floats]]:
    """Learn how far estimates move once everything was run; see `learn_chosen`."""
    from scipy.stats import norm, qmc  # noqa: PLC0415  # scipy is slow to import

    *_, last = learned.chances
    count = learned.chances[last].shape[1]
    sobol: Any = qmc.Sobol
    normal: Any = norm
    uniform = sobol(count, seed=0).random(_POINTS)
    points: Floats = normal.ppf(np.clip(uniform, 1 / _POINTS**2, 1 - 1 / _POINTS**2))
    shifts = dict[int, Floats]()
    for run, chances in learned.chances.items():
        moved = np.cov((chances - learned.chances[last]).T).reshape(count, count)
        shifts[run] = points @ np.linalg.cholesky(moved + _JITTER * np.eye(count)).T
    gaussian = Gaussian(shifts)
    return gaussian, {
        run: gaussian.quality(run, chances, learned.designs[run])
        for run, chances in learned.chances.items()
    }


def choose(run: int, chances: Floats) -> NDArray[np.intp]:
    """Return (n,): which model's answer is taken when the set `run` was run."""
    models = np.array(members(run, chances.shape[1]), np.intp)
    chosen: NDArray[np.intp] = models[chances[:, models].argmax(axis=1)]
    return chosen


def _known(run: int, chances: Floats) -> Floats:
    """Return what the chances alone say: of S itself, and before anything is run of one model."""
    count = chances.shape[1]
    found = np.full((len(chances), 1 << count), -np.inf)
    if run:
        found[:, run] = chances[:, members(run, count)].max(axis=1)
    else:
        found[:, [1 << model for model in range(count)]] = chances
    return found
