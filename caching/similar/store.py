"""Similar store: the questions that were asked, and what was learned of their likeness.

The store is the truth. Index and verifier are folds over its two logs, and can be built again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..keys import Key
from ..store import Labels, Selection

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Asked:
    """A question whose answer is kept, in the exact store, under `key`.

    `partition`: hash of everything but the ask; only questions of one partition are compared.
    `vector`: unit vector of the ask, (d,) float32, in the space that `partition` also names.
    `value`: hash of the answer's value; equal values have equal hashes.
    """

    partition: str
    key: Key
    ask: str
    vector: "NDArray[np.float32]"
    value: str
    labels: Labels


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a partition's log. `seq` rises; `asked` is None when question `id` was removed.

    A question that was removed before its addition was read shows up as its removal alone. One
    that is damaged, or sealed with another key, counts as removed.
    """

    seq: int
    id: int
    asked: Asked | None


@dataclass(frozen=True, slots=True)
class Observation:
    """One check of a stored answer against a new one.

    `scope`: whose likeness it teaches about (a step with its prompt, schema and tier).
    `features`: what the verifier saw. `score`: the probability it gave then that the two agree.
    `weight`: one over the probability with which this case was checked. `would_serve`: whether
    it was a hit, or would have been one. `right`: whether the two answers were the same.
    `source`: "miss", "audit" or "feedback". `value`: hash of the stored answer's value.
    """

    scope: str
    partition: str
    at: float
    features: tuple[float, ...]
    score: float
    weight: float
    would_serve: bool
    right: bool
    source: str
    value: str = ""


class SimilarStore(Protocol):
    """Keeps questions and observations. Raises StoreError where the store cannot be used."""

    def identity(self) -> str:
        """Return what tells this store from any other; the same for all who share it."""
        ...

    def add(self, asked: Asked) -> int:
        """Keep a question; it is durable when this returns. Return its id, which rises.

        It replaces the question of the same partition and key: that one is removed.
        """
        ...

    def remove(self, id: int) -> bool:  # noqa: A002  # what it is
        """Remove a question, and its text and vector with it. Tell whether it was there."""
        ...

    def invalidate(self, which: Selection) -> int:
        """Remove the questions that fit a selection. Return how many went."""
        ...

    def changes(self, partition: str, after: int, limit: int = 10_000) -> Sequence[Change]:
        """Return what changed in a partition after `seq`, in order. No committed line is missed."""
        ...

    def nearest(
        self, partition: str, vector: "NDArray[np.float32]", k: int
    ) -> Sequence[tuple[int, float]]:
        """Return ids and cosine similarities of the nearest, nearest first, found by the store."""
        ...

    def observe(self, observation: Observation) -> int:
        """Keep an observation. Return its number, which rises."""
        ...

    def observations(
        self, scope: str, after: int, limit: int = 10_000
    ) -> Sequence[tuple[int, Observation]]:
        """Return a scope's observations after a number, in order, with their numbers.

        Those that are damaged are left out.
        """
        ...

    def newest(self, scope: str, count: int) -> Sequence[tuple[int, Observation]]:
        """Return a scope's newest observations, at most `count`, oldest first."""
        ...

    def version(self) -> int | None:
        """Return a number that differs when anyone may have written; None if that is unknown.

        Reading it is much cheaper than reading the logs.
        """
        ...

    def partitions(self) -> dict[str, int]:
        """Count the questions per partition."""
        ...

    def place(self, partition: str) -> tuple[str, Labels] | None:
        """Return the scope that a partition's observations teach, "" for none yet, and its labels.

        None if it has no question.
        """
        ...

    def faults(self) -> Iterator[str]:
        """Check all that is kept; yield a line for each fault, which names where it is."""
        ...

    def close(self) -> None:
        """Close what is open; the next call opens it again."""
        ...
