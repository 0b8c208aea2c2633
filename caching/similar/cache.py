"""Similar cache: questions as texts. Encodes them, and hands them to what knows vectors."""

import hashlib
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...encoder import Encoder
from ...tracing import encoding
from ..keys import Key
from ..policy import SemanticCache
from ..store import Selection
from .findings import Explanation, Finding, Place, Served
from .store import SimilarStore

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .semantic import SimilarQuestions


class SimilarCache:
    """The similar-question cache of a process, opened on first use. Thread-safe.

    `open_store`, `encoder`: called when the first question comes; steps without this cache load
    neither. `folder`: where indexes are saved.
    """

    def __init__(
        self,
        open_store: Callable[[], SimilarStore],
        encoder: Callable[[], Encoder],
        folder: Path | None,
    ) -> None:
        self._open_store, self._encoder, self._folder = open_store, encoder, folder
        self._opening = threading.RLock()
        self._kept: SimilarStore | None = None
        self._questions: SimilarQuestions | None = None

    def find(self, place: Place, ask: str, terms: SemanticCache) -> Finding | None:
        """Look for a question like this one. None if the ask is longer than the encoder reads."""
        vector = self._vector(ask)
        if vector is None:
            return None
        return self._opened().find(self._here(place), ask, vector, terms)

    def explain(self, place: Place, ask: str, terms: SemanticCache) -> Explanation | None:
        """Say what `find` would do. None if the ask is longer than the encoder reads."""
        vector = self._vector(ask)
        if vector is None:
            return None
        return self._opened().explain(self._here(place), ask, vector, terms)

    def explain_text(
        self, ask: str, terms: SemanticCache, *, step: str | None = None
    ) -> Sequence[Explanation] | None:
        """Say of each partition (of a step) what it has for a question, the likest first.

        None if the ask is longer than the encoder reads.
        """
        vector = self._vector(ask)
        if vector is None:
            return None
        mark, found = _short(self._encoder().fingerprint), list[Explanation]()
        for partition in self._store.partitions():
            known = self._store.place(partition) if partition.endswith(f"-{mark}") else None
            if known is not None and step in (None, known[1].step):
                place = Place(known[0] or partition, partition, known[1])
                found.append(self._opened().explain(place, ask, vector, terms))
        return sorted(found, key=_likeness, reverse=True)

    def invalidate(self, which: Selection) -> int:
        """Remove the questions that fit a selection. Return how many went."""
        gone = self._store.invalidate(which)
        if gone and self._folder is not None:
            # Saved indexes still hold the vectors; they are made again.
            for saved in self._folder.glob("*.index"):
                saved.unlink(missing_ok=True)
        return gone

    def learn(self, finding: Finding, *, same: bool, weight: float = 1.0) -> None:
        """See SimilarQuestions."""
        self._opened().learn(finding, same=same, weight=weight)

    def keep(self, finding: Finding, key: Key, value: str) -> None:
        """See SimilarQuestions."""
        self._opened().keep(finding, key, value)

    def forget(self, finding: Finding) -> None:
        """See SimilarQuestions."""
        self._opened().forget(finding)

    def reject(self, served: Served) -> None:
        """See SimilarQuestions."""
        self._opened().reject(served)

    def close(self) -> None:
        """Save the indexes and close the store; the next question opens them again."""
        with self._opening:
            if self._questions is not None:
                self._questions.close()
                self._questions = None
            elif self._kept is not None:
                self._kept.close()

    @property
    def _store(self) -> SimilarStore:
        with self._opening:
            if self._kept is None:
                self._kept = self._open_store()
            return self._kept

    def _vector(self, ask: str) -> "NDArray[np.float32] | None":
        encoder = self._encoder()
        # What was cut off would count for nothing: two long texts would seem to be the same.
        tokens = encoder.count_tokens(ask)
        if tokens > encoder.window:
            return None
        around = partial(
            encoding, encoder.fingerprint, dimensions=encoder.dimensions, input_tokens=tokens
        )
        vector: NDArray[np.float32] = encoder.encode([ask], around)[0]
        return vector

    def _here(self, place: Place) -> Place:
        """Vectors of two encoders cannot be compared, nor what was learned on them."""
        mark = _short(self._encoder().fingerprint)
        return replace(place, scope=f"{place.scope}-{mark}", partition=f"{place.partition}-{mark}")

    def _opened(self) -> "SimilarQuestions":
        from .semantic import SimilarQuestions  # noqa: PLC0415  # imports numpy

        with self._opening:
            if self._questions is None:
                encoder: Any = self._encoder()
                self._questions = SimilarQuestions(
                    self._store,
                    encoder.dimensions,
                    chance=random.random,
                    clock=time.time,
                    fingerprint=encoder.fingerprint,
                    folder=self._folder,
                )
            return self._questions


def _likeness(explanation: Explanation) -> float:
    candidate = explanation.finding.candidate
    return candidate.similarity if candidate else -1.0


def _short(fingerprint: str) -> str:
    return hashlib.sha256(fingerprint.encode()).hexdigest()[:8]
