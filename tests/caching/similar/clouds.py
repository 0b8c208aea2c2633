"""Clouds: unit vectors in groups, as the vectors of questions are, and neighbours found by hand."""

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
DIMS = 64


def cloud(count: int, seed: int = 0, dims: int = DIMS) -> Vectors:
    """Return unit vectors, (count, dims), around a few dozen topics."""
    random = np.random.default_rng(seed)
    topics = np.random.default_rng(99).normal(size=(40, dims))
    vectors = topics[random.integers(0, len(topics), count)] + random.normal(size=(count, dims))
    return unit(vectors)


def near(vectors: Vectors, seed: int = 1, noise: float = 0.05) -> Vectors:
    """Return unit vectors near those, one for each."""
    random = np.random.default_rng(seed)
    return unit(vectors + noise * random.normal(size=vectors.shape))


def unit(vectors: NDArray[np.float64]) -> Vectors:
    """Return vectors, (n, d), at length 1."""
    scaled: Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return scaled


Found = list[tuple[int, float]]


def alike(found: Found, expected: Found, within: float = 1e-3) -> bool:
    """Tell whether two lists of neighbours are the same, similarities within so much."""
    return [each for each, _ in found] == [each for each, _ in expected] and all(
        abs(one - other) <= within for (_, one), (_, other) in zip(found, expected, strict=True)
    )


def nearest(vectors: Vectors, asked: Vectors, k: int) -> Found:
    """Return the rows and similarities of the nearest, each compared."""
    similarities = vectors @ asked
    best = np.argsort(-similarities, kind="stable")[:k]
    return list(zip(best.tolist(), similarities[best].tolist(), strict=True))
