"""Words: which models will be right, from the words of an ask alone. Asks nobody."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log, log1p, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .linear import plain

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

_TOKEN = re.compile(r"[a-z]+|\d+|[^\w\s]")
_LEAST_ASKS = 3
_PENALTY = 3.0
_ROUNDS = 30
_FOLDS = 4


@dataclass(frozen=True, slots=True)
class Words:
    """TF-IDF over words and word pairs, and a ridge regression for each of k models.

    `terms`: a term's row in `weights` (terms, k) and `rarity` (terms,). `base`: (k,).
    """

    terms: Mapping[str, int]
    rarity: Floats
    weights: Floats
    base: Floats

    def scores(self, ask: str) -> Floats:
        """Return (k,): the quality to expect of each model, not calibrated."""
        counts = Counter(each for each in _terms(ask) if each in self.terms)
        if not counts:
            return self.base
        rows = np.array([self.terms[each] for each in counts])
        values = (1 + np.log(np.array(list(counts.values())))) * self.rarity[rows]
        scores: Floats = self.base + values @ self.weights[rows] / sqrt(float(values @ values))
        return scores

    def to_json(self) -> dict[str, Any]:
        """Return plain lists and numbers."""
        arrays = {name: plain(getattr(self, name)) for name in ("rarity", "weights", "base")}
        return {"terms": list(self.terms), **arrays}

    @classmethod
    def from_json(cls, read: Mapping[str, Any]) -> "Words":
        """Read what `to_json` wrote."""
        arrays = {name: np.array(read[name], np.float64) for name in ("rarity", "weights", "base")}
        return cls({term: row for row, term in enumerate(read["terms"])}, **arrays)


def fit_words(asks: Sequence[str], quality: Floats) -> tuple[Words, Floats]:
    """Learn from n asks and the quality (n, k); also return (n, k) scores, out of fold.

    Terms of fewer than 3 asks are left out: they would name single items.
    """
    counted = [Counter(_terms(ask)) for ask in asks]
    spread = Counter(term for each in counted for term in each)
    terms = {
        term: row
        for row, term in enumerate(sorted(t for t, asks in spread.items() if asks >= _LEAST_ASKS))
    }
    rarity = np.array([log((1 + len(asks)) / (1 + spread[term])) + 1 for term in terms])
    matrix = _matrix(counted, terms, rarity)
    scores = np.empty_like(quality)
    folds = np.arange(len(asks)) % _FOLDS
    for fold in range(_FOLDS):
        held = np.nonzero(folds == fold)[0]
        rest = np.nonzero(folds != fold)[0]
        weights, base = _ridge(matrix[rest], quality[rest])
        scores[held] = matrix[held] @ weights + base
    weights, base = _ridge(matrix, quality)
    return Words(terms, rarity, weights, base), scores


def _terms(ask: str) -> list[str]:
    tokens = _TOKEN.findall(ask.lower())
    return tokens + [f"{first} {second}" for first, second in pairwise(tokens)]


def _matrix(counted: Sequence[Counter[str]], terms: Mapping[str, int], rarity: Floats) -> Any:
    from scipy.sparse import csr_matrix  # noqa: PLC0415  # scipy is slow to import

    ends, columns, values = [0], list[int](), list[float]()
    for counts in counted:
        known = [
            (terms[term], log1p(times - 1) + 1) for term, times in counts.items() if term in terms
        ]
        row = np.array([weight * rarity[column] for column, weight in known])
        columns.extend(column for column, _ in known)
        values.extend((row / (sqrt(float(row @ row)) or 1.0)).tolist())
        ends.append(len(columns))
    return csr_matrix((values, columns, ends), shape=(len(counted), len(terms)))


def _ridge(matrix: Any, targets: Floats) -> tuple[Floats, Floats]:
    """Solve by conjugate gradients for all targets at once; an early end regularises too."""
    base = targets.mean(axis=0)
    left = matrix.T @ (targets - base)
    weights = np.zeros_like(left)
    direction, size = left.copy(), (left * left).sum(axis=0)
    for _ in range(_ROUNDS):
        if float(size.max(initial=0.0)) < 1e-12:
            break
        ahead = matrix.T @ (matrix @ direction) + _PENALTY * direction
        length = size / np.maximum((direction * ahead).sum(axis=0), 1e-12)
        weights += length * direction
        left -= length * ahead
        shrunk = (left * left).sum(axis=0)
        direction = left + shrunk / np.maximum(size, 1e-12) * direction
        size = shrunk
    return weights, base
