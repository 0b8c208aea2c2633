"""Semantic vectors: real questions as vectors, and as many more as a size asks for.

No public set of a million questions is at hand. What is missing is made: a stored question's
vector, moved towards another one's and shaken. Such vectors fill the space between the real ones
as paraphrases do; they are no paraphrases, so that recall beyond the real ones is indicative only.
"""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tierflow.encoder import Encoder

Vectors: TypeAlias = NDArray[np.float32]

_SEED = 20240521
_BATCH = 512
_CHUNK = 25_000
_MOST_BASE = 20_000
_ASKED_SHARE = 10
_MOST_ASKED = 500
# Cosine to the original: about 0.74 to 0.95 for copies, 0.82 to 1 for asked ones.
_TOWARDS, _SHAKEN = (0.2, 0.7), (0.012, 0.03)
_ASKED_SHAKEN = (0.0, 0.035)


@dataclass(frozen=True, slots=True)
class Base:
    """Real questions. `vectors`: of those that are stored. `asked`, `asked_vectors`: the others."""

    vectors: Vectors
    asked: list[str]
    asked_vectors: Vectors


@dataclass(frozen=True, slots=True)
class Scale:
    """What is stored at one size, (n, d) float16, and asked, (m, d), and what is nearest to it."""

    stored: NDArray[np.float16]
    asked: Vectors
    nearest: NDArray[np.int64]
    similarity: Vectors

    def __len__(self) -> int:
        return len(self.stored)


def questions(folder: Path) -> list[str]:
    """Return the different questions of a folder's *.jsonl.gz, mixed, the same way every time."""
    found: dict[str, None] = {}
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                row: dict[str, Any] = json.loads(line)
                found.update((row[name], None) for name in ("text", "a", "b") if name in row)
    texts = list(found)
    order = np.random.default_rng(_SEED).permutation(len(texts))
    return [texts[each] for each in order]


def base(texts: list[str], encoder: Encoder, largest: int, say: Callable[[str], None]) -> Base:
    """Encode questions: no more than a size of `largest` needs, and 20,000 at most."""
    asked = min(_MOST_ASKED, len(texts) // _ASKED_SHARE)
    texts = texts[: asked + min(largest, _MOST_BASE)]
    # Long texts go with long ones: a batch costs what its longest text costs.
    order = sorted(range(len(texts)), key=lambda each: len(texts[each]))
    vectors: Any = None
    for start in range(0, len(order), _BATCH):
        part = order[start : start + _BATCH]
        encoded = encoder.encode([texts[each] for each in part])
        if vectors is None:
            vectors = np.empty((len(texts), encoded.shape[1]), np.float32)
        vectors[part] = encoded
        if start and not start % (10 * _BATCH):
            say(f"  {start} of {len(texts)}")
    return Base(vectors[asked:], texts[:asked], vectors[:asked])


def scaled(base: Base, size: int) -> Scale:
    """Return so many vectors, real ones first, and what to ask of them."""
    stored = np.empty((size, base.vectors.shape[1]), np.float16)
    real = min(size, len(base.vectors))
    stored[:real] = base.vectors[:real]
    for start in range(real, size, _CHUNK):
        end = min(start + _CHUNK, size)
        stored[start:end] = _copies(base.vectors, end - start, start)
    asked = _asked(base, stored)
    nearest, similarity = _nearest(stored, asked)
    return Scale(stored, asked, nearest, similarity)


def fresh(base: Base, count: int) -> Vectors:
    """Return vectors that are not stored at any size."""
    return _copies(base.vectors, count, -1)


def _copies(vectors: Vectors, count: int, number: int) -> Vectors:
    random = np.random.default_rng([_SEED, number + 1])
    moved = vectors[random.integers(0, len(vectors), count)]
    others = vectors[random.integers(0, len(vectors), count)]
    towards = random.uniform(*_TOWARDS, (count, 1)).astype(np.float32)
    shaken = random.uniform(*_SHAKEN, (count, 1)).astype(np.float32)
    noise = random.standard_normal(moved.shape, dtype=np.float32)
    return _unit(moved + towards * others + shaken * noise)


def _asked(base: Base, stored: NDArray[np.float16]) -> Vectors:
    """Return real questions that are not stored, and as many stored ones, shaken."""
    random = np.random.default_rng(_SEED + 1)
    count = len(base.asked_vectors)
    known = stored[random.integers(0, len(stored), count)].astype(np.float32)
    shaken = random.uniform(*_ASKED_SHAKEN, (count, 1)).astype(np.float32)
    noise = random.standard_normal(known.shape, dtype=np.float32)
    return np.concatenate((base.asked_vectors, _unit(known + shaken * noise)))


def _nearest(stored: NDArray[np.float16], asked: Vectors) -> tuple[NDArray[np.int64], Vectors]:
    """Return the row of the nearest to each, and its similarity, each compared in 32 bits."""
    best = np.zeros(len(asked), np.int64)
    top = np.full(len(asked), -2, np.float32)
    for start in range(0, len(stored), _CHUNK):
        found = asked @ _unit(stored[start : start + _CHUNK].astype(np.float32)).T
        row = found.argmax(axis=1)
        similarity = found[np.arange(len(asked)), row]
        better = similarity > top
        best[better], top[better] = row[better] + start, similarity[better]
    return best, top


def _unit(vectors: "Vectors | NDArray[np.float64]") -> Vectors:
    scaled = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = scaled.astype(np.float32, copy=False)
    return unit
