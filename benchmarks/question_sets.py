"""Question sets: real questions whose answers are known, and the order in which they arrive.

A stream is a file of questions with the name of their answer; two may share an answer if and only
if it is equal. Pairs are two questions each, and whether one answer fits both. What a cache is to
be told in which order is the same for both: a list of arrivals.
"""

import gzip
import hashlib
import json
import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tierflow.encoder import Encoder

Vectors: TypeAlias = NDArray[np.float32]

_BATCH = 512
_DEFAULT = Path(__file__).parents[2] / "shared" / "data"


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Questions in the order in which they come, each text asked once at most.

    `given`: such a question comes with its answer and is only kept; nobody asks it. `pair_same`:
    of pairs, whether the asked one has the answer of the one given just before. `repeats`: texts
    that came again and were left out, since the exact cache answers them.
    """

    texts: list[str]
    vectors: Vectors
    answers: list[str]
    given: NDArray[np.bool_]
    pair_same: NDArray[np.bool_] | None
    repeats: int

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True, slots=True)
class Stream:
    """A file of questions, in its own order. `answers`: hashes, one for each text."""

    name: str
    texts: list[str]
    answers: list[str]
    vectors: Vectors

    def arrivals(self, seed: int | None) -> Arrivals:
        """Return the questions mixed by a seed, or in the file's own order if it is None."""
        seen: set[str] = set()
        order: list[int] = []
        for row in _mixed(len(self.texts), seed):
            if self.texts[row] not in seen:
                seen.add(self.texts[row])
                order.append(row)
        return Arrivals(
            [self.texts[row] for row in order],
            self.vectors[order],
            [self.answers[row] for row in order],
            np.zeros(len(order), np.bool_),
            None,
            len(self.texts) - len(order),
        )


@dataclass(frozen=True, slots=True)
class Pairs:
    """A file of pairs. `rows`: of each pair the rows of its two texts; `groups`: see `_groups`."""

    name: str
    texts: list[str]
    groups: list[str]
    vectors: Vectors
    rows: list[tuple[int, int]]
    same: list[bool]

    def arrivals(self, seed: int | None) -> Arrivals:
        """Return the pairs mixed by a seed: the first text of each is given, the second asked.

        A second text that came before would be answered by the exact cache: it is left out.
        """
        given: list[bool] = []
        same: list[bool] = []
        order: list[int] = []
        seen: set[int] = set()
        repeats = 0
        for pair in _mixed(len(self.rows), seed):
            first, second = self.rows[pair]
            for row in (first, second):
                if row in seen:
                    repeats += row == second
                    continue
                seen.add(row)
                order.append(row)
                given.append(row == first)
                same.append(self.same[pair])
        return Arrivals(
            [self.texts[row] for row in order],
            self.vectors[order],
            [self.groups[row] for row in order],
            np.array(given, np.bool_),
            np.array(same, np.bool_),
            repeats,
        )


def folder() -> Path:
    """Return where the question sets lie unless the command line says so."""
    return Path(os.environ.get("TIERFLOW_DATA", _DEFAULT)) / "questions"


def names(data: Path) -> set[str]:
    """Return the names of a folder's streams and pairs."""
    return {_name(path) for kind in ("stream", "pairs") for path in _paths(data, kind, None)}


def streams(
    data: Path, encoder: Encoder, only: Sequence[str] | None, say: Callable[[str], None]
) -> list[Stream]:
    """Read and encode a folder's streams, `only` those of these names. None means all."""
    found: list[Stream] = []
    for path in _paths(data, "stream", only):
        rows = list(_rows(path))
        say(f"Encoding {len(rows)} questions of {path.name} ...")
        texts = [row["text"] for row in rows]
        answers = [_hash(row["answer"]) for row in rows]
        found.append(Stream(_name(path), texts, answers, encoded(texts, encoder)))
    return found


def pairs(
    data: Path, encoder: Encoder, only: Sequence[str] | None, say: Callable[[str], None]
) -> list[Pairs]:
    """Read and encode a folder's pairs, `only` those of these names. None means all."""
    found: list[Pairs] = []
    for path in _paths(data, "pairs", only):
        rows = list(_rows(path))
        say(f"Encoding {len(rows)} pairs of {path.name} ...")
        texts = list(dict.fromkeys(row[side] for row in rows for side in "ab"))
        place = {text: row for row, text in enumerate(texts)}
        both = [(place[row["a"]], place[row["b"]]) for row in rows]
        same = [bool(row["same"]) for row in rows]
        groups = [_hash(str(group)) for group in _groups(len(texts), both, same)]
        vectors = encoded(texts, encoder)
        found.append(Pairs(_name(path), texts, groups, vectors, both, same))
    return found


def encoded(texts: Sequence[str], encoder: Encoder) -> Vectors:
    """Return unit vectors, (n, d) float32, in the order of the texts."""
    # Long texts go with long ones: a batch costs what its longest text costs.
    order = sorted(range(len(texts)), key=lambda each: len(texts[each]))
    vectors = np.empty((len(texts), encoder.dimensions), np.float32)
    for start in range(0, len(order), _BATCH):
        part = order[start : start + _BATCH]
        vectors[part] = encoder.encode([texts[each] for each in part])
    return vectors


def _paths(data: Path, kind: str, only: Sequence[str] | None) -> list[Path]:
    paths = sorted(data.glob(f"{kind}_*.jsonl.gz"))
    return [path for path in paths if only is None or _name(path) in only]


def _mixed(count: int, seed: int | None) -> list[int]:
    order = list(range(count))
    if seed is not None:
        random.Random(seed).shuffle(order)
    return order


def _groups(count: int, rows: Sequence[tuple[int, int]], same: Sequence[bool]) -> list[int]:
    """Return a number for each text; pairs that are the same have one number.

    Texts come in several pairs: whatever is linked by pairs that are the same is one group.
    """
    above = list(range(count))

    def top(row: int) -> int:
        while above[row] != row:
            above[row] = above[above[row]]
            row = above[row]
        return row

    for (first, second), equal in zip(rows, same, strict=True):
        if equal:
            above[top(first)] = top(second)
    return [top(row) for row in range(count)]


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _name(path: Path) -> str:
    return path.name.removesuffix(".jsonl.gz").split("_", 1)[1]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
