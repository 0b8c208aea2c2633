"""Trees: a sum of small decision trees as flat arrays, read from JSON. Learns nothing by itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Trees:
    """The nodes of all trees in one row of arrays, each (nodes,); a leaf leads to itself.

    At a node an item goes `left` where `item[feature] <= cut`, else `right`. `value`: what a leaf
    adds. `roots`: (trees,). `start`: what is added to.
    """

    feature: Ints
    cut: Floats
    left: Ints
    right: Ints
    value: Floats
    roots: Ints
    start: float
    depth: int

    def predict(self, matrix: Floats) -> Floats:
        """Return (n,) for items (n, features)."""
        found = np.empty(len(matrix))
        for first in range(0, len(matrix), _AT_ONCE):
            rows = matrix[first : first + _AT_ONCE]
            nodes = np.broadcast_to(self.roots, (len(rows), len(self.roots)))
            for _ in range(self.depth):
                seen = np.take_along_axis(rows, self.feature[nodes], axis=1)
                nodes = np.where(seen <= self.cut[nodes], self.left[nodes], self.right[nodes])
            found[first : first + _AT_ONCE] = self.start + self.value[nodes].sum(axis=1)
        return found

    def to_json(self) -> dict[str, Any]:
        """Return plain lists and numbers."""
        arrays = ("feature", "cut", "left", "right", "value", "roots")
        listed = {name: getattr(self, name).tolist() for name in arrays}
        return {**listed, "start": self.start, "depth": self.depth}

    @classmethod
    def from_json(cls, read: Mapping[str, Any]) -> "Trees":
        """Read what `to_json` wrote. Raises KeyError or ValueError for anything else."""
        return cls(
            feature=np.array(read["feature"], np.intp),
            cut=np.array(read["cut"], np.float64),
            left=np.array(read["left"], np.intp),
            right=np.array(read["right"], np.intp),
            value=np.array(read["value"], np.float64),
            roots=np.array(read["roots"], np.intp),
            start=read["start"],
            depth=read["depth"],
        )


def fit_trees(matrix: Floats, target: Floats, *, trees: int = 300, seed: int = 0) -> Trees:
    """Boost small trees on (n, features) to predict (n,); strongly held back, for noisy targets."""
    from sklearn.ensemble import (  # noqa: PLC0415  # scikit-learn is slow to import
        HistGradientBoostingRegressor,
    )
    from threadpoolctl import threadpool_limits  # noqa: PLC0415  # comes with scikit-learn

    boost: Any = HistGradientBoostingRegressor
    boosting = boost(
        max_iter=trees,
        learning_rate=0.03,
        max_leaf_nodes=8,
        min_samples_leaf=min(100, max(len(target) // 10, 1)),
        l2_regularization=5.0,
        max_features=0.3,
        early_stopping=False,
        random_state=seed,
    )
    # Threads that wait for each other cost more than they bring at this size.
    with threadpool_limits(1):
        boosting.fit(matrix, target)
    return _flattened(boosting)


def _flattened(boosting: Any) -> Trees:
    grown = [each[0].nodes for each in boosting._predictors]  # noqa: SLF001  # its only way out
    roots = np.cumsum([0, *(len(nodes) for nodes in grown[:-1])])
    shift = np.repeat(roots, [len(nodes) for nodes in grown])
    nodes = np.concatenate(grown)
    leaf = nodes["is_leaf"].astype(bool)
    here = np.arange(len(nodes))
    return Trees(
        feature=np.where(leaf, 0, nodes["feature_idx"]).astype(np.intp),
        cut=np.where(leaf, 0.0, nodes["num_threshold"]),
        left=np.where(leaf, here, nodes["left"] + shift).astype(np.intp),
        right=np.where(leaf, here, nodes["right"] + shift).astype(np.intp),
        value=np.where(leaf, nodes["value"], 0.0),
        roots=roots.astype(np.intp),
        start=float(np.ravel(boosting._baseline_prediction)[0]),  # noqa: SLF001  # its only way out
        depth=int(nodes["depth"].max()),
    )
