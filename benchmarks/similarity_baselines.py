"""Similarity baselines: how others decide whether a near question's answer may be served.

Each keeps what it asked, looks at the nearest kept question by cosine similarity, and serves its
answer or asks. Written from the papers and documentation that are named; no code is theirs.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .hit_figures import ASKED, GIVEN, RIGHT, WRONG, Outcomes, figures
from .question_sets import Arrivals, Vectors
from .vcache_policy import VCache

GRID = tuple(round(50 + 2 * step) / 100 for step in range(15)) + tuple(
    round(800 + 5 * step) / 1000 for step in range(40)
)
"""The thresholds from which the best is chosen in hindsight."""

_BLOCK = 512
_NEAR = 128

GPTCACHE_RANGE = 4.0
"""The greatest squared L2 distance of two unit vectors: that of opposite ones."""


def gptcache_cosine(similarity_threshold: float) -> float:
    """Return the cosine similarity from which on GPTCache 0.1.44 serves.

    It embeds the last message and rates the nearest by range - distance, distance being the
    squared L2 one, 2 - 2 cos for unit vectors. It serves from similarity_threshold * range on, so
    4 - (2 - 2 cos) >= 4 * threshold, which is cos >= 2 * threshold - 1. Its default threshold of
    0.8 is cos 0.6. Source: SearchDistanceEvaluation and Config in its documentation.
    """
    return (GPTCACHE_RANGE * similarity_threshold - GPTCACHE_RANGE + 2) / 2


class Neighbours:
    """Of each arrival the nearest ones that came before it: found once, for all policies."""

    def __init__(self, vectors: Vectors, near: int = _NEAR) -> None:
        self.vectors = vectors
        count = len(vectors)
        width = min(near, count)
        self.rows = np.zeros((count, width), np.int64)
        self.cosines = np.full((count, width), -2, np.float32)
        for start in range(0, count, _BLOCK):
            end = min(start + _BLOCK, count)
            found = vectors[start:end] @ vectors[:end].T
            # None is its own neighbour, nor of one that came before it.
            later = np.arange(end)[None] >= np.arange(start, end)[:, None]
            found[later] = -2
            kept = min(width, end)
            best = np.argpartition(-found, kept - 1, axis=1)[:, :kept]
            cosines = np.take_along_axis(found, best, axis=1)
            order = np.argsort(-cosines, axis=1, kind="stable")
            self.rows[start:end, :kept] = np.take_along_axis(best, order, axis=1)
            self.cosines[start:end, :kept] = np.take_along_axis(cosines, order, axis=1)


class Kept:
    """The arrivals whose answers are kept, and which of them is nearest to one."""

    def __init__(self, neighbours: Neighbours) -> None:
        self._near = neighbours
        self._is_kept = np.zeros(len(neighbours.vectors), np.bool_)
        self._rows = np.empty(len(neighbours.vectors), np.int64)
        self._matrix = np.empty_like(neighbours.vectors)
        self._count = 0

    def add(self, arrival: int) -> None:
        """Keep an arrival."""
        self._is_kept[arrival] = True
        self._rows[self._count] = arrival
        self._matrix[self._count] = self._near.vectors[arrival]
        self._count += 1

    def nearest(self, arrival: int, least: float = -1.0) -> tuple[int, float] | None:
        """Return the nearest kept one and its cosine similarity; None if none has `least`."""
        cosines = self._near.cosines[arrival]
        kept = self._is_kept[self._near.rows[arrival]]
        first = int(kept.argmax())
        if kept[first] and cosines[first] > -2:
            cosine = float(cosines[first])
            return (int(self._near.rows[arrival, first]), cosine) if cosine >= least else None
        # Not among the nearest of all: whichever it is, it is no nearer than they are.
        if not self._count or cosines[-1] < least:
            return None
        all_ = self._matrix[: self._count] @ self._near.vectors[arrival]
        best = int(all_.argmax())
        cosine = float(all_[best])
        return (int(self._rows[best]), cosine) if cosine >= least else None


class Policy(Protocol):
    """Decides, and learns from what was asked instead. One policy serves one stream."""

    least: float
    """A nearest one below this cosine similarity is never looked at."""

    def serves(self, nearest: int, cosine: float) -> bool:
        """Tell whether the nearest one's answer is served."""
        ...

    def keeps(self, nearest: int, cosine: float, *, same: bool) -> bool:
        """Learn whether its answer was the same as the new one. Tell whether the new is kept."""
        ...


@dataclass
class FixedThreshold:
    """Serves from one cosine similarity on, the same for all. Keeps all that it asks."""

    least: float

    def serves(self, nearest: int, cosine: float) -> bool:  # noqa: ARG002  # all are alike to it
        """Tell whether the similarity reaches the threshold."""
        return cosine >= self.least

    def keeps(self, nearest: int, cosine: float, *, same: bool) -> bool:  # noqa: ARG002  # learns nothing
        """Learn nothing; keep it."""
        return True


def replay(arrivals: Arrivals, neighbours: Neighbours, policy: Policy) -> Outcomes:
    """Let questions arrive one by one. Return what became of each."""
    outcomes = np.full(len(arrivals), ASKED, np.int8)
    kept = Kept(neighbours)
    for each in range(len(arrivals)):
        if arrivals.given[each]:
            outcomes[each] = GIVEN
            kept.add(each)
            continue
        found = kept.nearest(each, policy.least)
        if found is None:
            kept.add(each)
            continue
        same = arrivals.answers[found[0]] == arrivals.answers[each]
        if policy.serves(*found):
            outcomes[each] = RIGHT if same else WRONG
        elif policy.keeps(*found, same=same):
            kept.add(each)
    return outcomes


def baseline_figures(
    arrivals: Arrivals, promises: Sequence[float], seed: int
) -> dict[str, dict[str, Any]]:
    """Return the figures of every baseline; of some one for each promise.

    `seed`: of vCache's exploration.
    """
    neighbours = Neighbours(arrivals.vectors)

    def fixed(least: float) -> dict[str, float]:
        return figures(replay(arrivals, neighbours, FixedThreshold(least)), arrivals.pair_same)

    grid = {least: fixed(least) for least in GRID}
    vcache: dict[str, dict[str, float]] = {}
    for promise in promises:
        policy = VCache(promise, random.Random(seed).random)
        outcomes = replay(arrivals, neighbours, policy)
        vcache[f"{promise:g}"] = figures(outcomes, arrivals.pair_same)
    return {
        "cosine_0.8": fixed(0.8),
        "cosine_0.9": fixed(0.9),
        "cosine_best": {f"{promise:g}": best_threshold(grid, promise) for promise in promises},
        "gptcache": fixed(gptcache_cosine(0.8)),
        "gptcache_0.95": fixed(gptcache_cosine(0.95)),
        "vcache": vcache,
    }


def best_threshold(grid: Mapping[float, dict[str, float]], promise: float) -> dict[str, Any]:
    """Return the figures of the threshold that serves most of those that keep a promise.

    Nobody could know it before the questions are over. Where none keeps it, nothing is served.
    """
    fitting = [least for least, found in grid.items() if found["wrong_per_hit"] <= promise]
    best = max(fitting, key=lambda least: grid[least]["hit_rate"], default=None)
    if best is None:
        return {"threshold": None, **dict.fromkeys(next(iter(grid.values())), 0.0)}
    return {"threshold": best, **grid[best]}
