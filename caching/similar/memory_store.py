"""Memory store: questions and observations of one process, gone with it. For tests and trials."""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from ..store import Labels, Selection
from .store import Asked, Change, Observation


class MemorySimilarStore:
    """A SimilarStore in memory. Threads may share it; processes cannot."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._identity = uuid4().hex
        self._live: dict[int, Asked] = {}
        self._ids: dict[tuple[str, str], int] = {}
        self._last_id = 0
        self._logs: defaultdict[str, dict[int, int]] = defaultdict(dict)
        self._last: Counter[str] = Counter()
        self._seq: dict[int, int] = {}
        self._observations: defaultdict[str, list[Observation]] = defaultdict(list)
        self._version = 0

    def identity(self) -> str:
        """Return what tells this store from any other."""
        return self._identity

    def add(self, asked: Asked) -> int:
        """Keep a question, in place of another of its partition and key. Return its id."""
        with self._lock:
            if (old := self._ids.get((asked.partition, asked.key))) is not None:
                self._drop(old)
            self._last_id += 1
            self._ids[asked.partition, asked.key] = self._last_id
            vector = np.array(asked.vector, np.float32)
            self._live[self._last_id] = replace(asked, vector=vector)
            self._log(asked.partition, self._last_id)
            return self._last_id

    def remove(self, id: int) -> bool:  # noqa: A002  # the contract's word
        """Remove a question. Tell whether it was there."""
        with self._lock:
            return self._remove(lambda known, _: known == id) > 0

    def invalidate(self, which: Selection) -> int:
        """Remove the questions that fit a selection. Return how many went."""
        with self._lock:
            return self._remove(lambda _, asked: which.holds(asked.labels))

    def changes(self, partition: str, after: int, limit: int = 10_000) -> Sequence[Change]:
        """Return what changed in a partition after `seq`, in order."""
        with self._lock:
            log = self._logs.get(partition, {})
            later: list[int] = []
            for seq in reversed(log):
                if seq <= after:
                    break
                later.append(seq)
            later = later[::-1][:limit]
            return [Change(seq, log[seq], self._live.get(log[seq])) for seq in later]

    def nearest(
        self, partition: str, vector: NDArray[np.float32], k: int
    ) -> Sequence[tuple[int, float]]:
        """Return ids and cosine similarities of the nearest, nearest first; looks at all."""
        with self._lock:
            kept = {
                id_: asked.vector
                for id_, asked in self._live.items()
                if asked.partition == partition and asked.vector.shape == vector.shape
            }
        if not kept:
            return []
        ids = list(kept)
        cosines: NDArray[np.float32] = np.stack(list(kept.values())) @ vector
        return [(ids[int(place)], float(cosines[place])) for place in np.argsort(-cosines)[:k]]

    def observe(self, observation: Observation) -> int:
        """Keep an observation. Return its number, which rises within its scope."""
        with self._lock:
            known = self._observations[observation.scope]
            known.append(observation)
            self._version += 1
            return len(known)

    def observations(
        self, scope: str, after: int, limit: int = 10_000
    ) -> Sequence[tuple[int, Observation]]:
        """Return a scope's observations after a number, in order, with their numbers."""
        with self._lock:
            known = self._observations.get(scope, [])
            after = max(0, after)
            return list(enumerate(known[after : after + limit], start=after + 1))

    def newest(self, scope: str, count: int) -> Sequence[tuple[int, Observation]]:
        """Return a scope's newest observations, at most `count`, oldest first."""
        with self._lock:
            known = self._observations.get(scope, [])
            first = max(0, len(known) - max(0, count))
            return list(enumerate(known[first:], start=first + 1))

    def version(self) -> int:
        """Return how often anything was written."""
        return self._version

    def partitions(self) -> dict[str, int]:
        """Count the questions per partition."""
        with self._lock:
            return dict(sorted(Counter(each.partition for each in self._live.values()).items()))

    def place(self, partition: str) -> tuple[str, Labels] | None:
        """Return the scope that a partition's observations teach, and its labels."""
        with self._lock:
            labels = (each.labels for each in self._live.values() if each.partition == partition)
            seen = (
                scope
                for scope, lines in self._observations.items()
                if any(each.partition == partition for each in lines)
            )
            found = next(labels, None)
            return None if found is None else (next(seen, ""), found)

    def faults(self) -> Iterator[str]:
        """Yield nothing: memory is not checked."""
        return iter(())

    def close(self) -> None:
        """Nothing is open; what is kept stays."""

    def _log(self, partition: str, id_: int) -> None:
        self._last[partition] += 1
        self._seq[id_] = self._last[partition]
        self._logs[partition][self._last[partition]] = id_
        self._version += 1

    def _remove(self, holds: Callable[[int, Asked], bool]) -> int:
        going = [id_ for id_, asked in self._live.items() if holds(id_, asked)]
        for id_ in going:
            self._drop(id_)
        return len(going)

    def _drop(self, id_: int) -> None:
        gone = self._live.pop(id_)
        del self._ids[gone.partition, gone.key]
        del self._logs[gone.partition][self._seq[id_]]
        self._log(gone.partition, id_)
