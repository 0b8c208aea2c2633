"""Similar questions: may the answer to a question like this one be served? Calls no model.

Everything but the ask is equal within a partition, by hash. What is near there is a candidate; the
verifier says how likely its answer is the right one; the proof says from where on that is enough.
Until it is proven, nothing is served.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from ...bounds import anytime_upper_share
from ..keys import Key
from ..policy import SemanticCache
from .findings import Candidate, Explanation, Finding, Place, Served
from .front import Front
from .learner import Learner
from .likeness import FEATURES, likeness
from .proof import Proof
from .store import Asked, Observation, SimilarStore

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MOST_FRONTS = 256
"""So many partitions stay in memory, those used last: a conversation is a partition, too."""


class _Fold(Protocol):
    """What reads a log of the store as it grows."""

    def catch_up(self) -> None: ...


T = TypeVar("T", bound=_Fold)


@dataclass(slots=True)
class _Shelf(Generic[T]):
    """A front or a learner, and the version of the store it has read. `lock`: for both."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    held: T | None = None
    read: int | None = None

    def current(self, version: int | None, make: Callable[[], T]) -> T:
        """Return what is held, made if need be, as of a version of the store; None: unknown."""
        if self.held is None:
            self.read, self.held = None, make()
        if version is None or version != self.read:
            self.held.catch_up()
            self.read = version
        return self.held


class SimilarQuestions:
    """The similar-question cache of one process. Thread-safe.

    `chance`: returns a float in [0, 1), for the sampled checks. `clock`: Unix seconds. `folder`:
    where indexes are saved, None for nowhere. `fingerprint`: of the encoder.
    """

    def __init__(
        self,
        store: SimilarStore,
        dimensions: int,
        *,
        chance: Callable[[], float],
        clock: Callable[[], float],
        fingerprint: str = "",
        folder: Path | None = None,
    ) -> None:
        self._store, self._dimensions = store, dimensions
        self._chance, self._clock = chance, clock
        self._fingerprint, self._folder = fingerprint, folder
        # Fronts before learners, where both are locked.
        self._fronts: OrderedDict[str, _Shelf[Front]] = OrderedDict()
        self._learners: dict[tuple[str, float, float], _Shelf[Learner]] = {}
        self._lock = threading.Lock()

    def find(
        self, place: Place, ask: str, vector: "NDArray[np.float32]", terms: SemanticCache
    ) -> Finding:
        """Look for a stored question whose answer may be served. Raises StoreError."""
        with self._reading(place, terms) as (front, learner):
            proof = learner.proof(place.partition)
            asked = Finding(place, terms, ask, vector, "first ask")
            finding = _judged(front, learner, proof, asked)
            if not finding.would_serve:
                return finding
            share = 1.0 if proof is None else proof.audit_share(1 - finding.score)
        if self._chance() < share:
            return replace(finding, weight=1 / share, why="sampled check of a would-be hit")
        return replace(finding, served=True)

    def learn(self, finding: Finding, *, same: bool, weight: float = 1.0) -> None:
        """Take in whether the candidate's answer was the same as the new one. Raises StoreError.

        `weight`: one over the share of such cases that the caller compares. Raises ValueError for
        a finding without a candidate.
        """
        compared = finding.as_served()
        if compared is None:
            raise ValueError("The finding has no candidate that could have been compared.")
        self._observe(
            compared,
            weight=finding.weight * weight,
            would_serve=finding.would_serve,
            right=same,
            source="audit" if finding.would_serve else "miss",
        )
        # Now, where a model was waited for anyway, and not when the next hit is looked for.
        shelf = self._learner(finding.place, finding.terms)
        with shelf.lock:
            self._current_learner(finding.place, finding.terms, shelf)

    def keep(self, finding: Finding, key: Key, value: str) -> int:
        """Keep the question that was asked: its answer lies under `key`. Return its id."""
        place = finding.place
        return self._store.add(
            Asked(place.partition, key, finding.ask, finding.vector, value, place.labels)
        )

    def forget(self, finding: Finding) -> None:
        """Remove the candidate: its answer is no longer there."""
        if finding.candidate is not None:
            self._store.remove(finding.candidate.id)

    def reject(self, served: Served) -> None:
        """Remove a stored question, and count a wrong hit: somebody said so. Raises StoreError.

        Nothing happens if it was removed before: one hit is wrong once, however often it is said.
        """
        if not self._store.remove(served.id):
            return
        self._observe(served, weight=1.0, would_serve=True, right=False, source="feedback")
        if self._folder is not None:
            # The saved index still holds the vector; it is made again.
            (self._folder / f"{served.partition}.index").unlink(missing_ok=True)

    def explain(
        self, place: Place, ask: str, vector: "NDArray[np.float32]", terms: SemanticCache
    ) -> Explanation:
        """Say what `find` would do, without sampling."""
        with self._reading(place, terms) as (front, learner):
            proof = learner.proof(place.partition)
            asked = Finding(place, terms, ask, vector, "first ask")
            finding = _judged(front, learner, proof, asked)
            return Explanation(
                finding=finding,
                features=dict(zip(FEATURES, finding.features, strict=False)),
                needed=1 - proof.limit if proof is not None and proof.level >= 0 else None,
                evidence=proof.evidence() if proof is not None else 0.0,
                checked=proof.checked if proof is not None else 0,
                wrong=proof.wrong if proof is not None else 0,
                bound=_bound(proof),
                drifts=learner.drifts,
                questions=len(front),
            )

    def close(self) -> None:
        """Save the indexes; the next question opens them again."""
        with self._lock:
            shelves = tuple(self._fronts.values())
            self._fronts.clear()
            self._learners.clear()
        for shelf in shelves:
            _put_away(shelf)
        self._store.close()

    def _observe(
        self, what: Served, *, weight: float, would_serve: bool, right: bool, source: str
    ) -> None:
        self._store.observe(
            Observation(
                scope=what.scope,
                partition=what.partition,
                at=self._clock(),
                features=what.features,
                score=what.score,
                weight=weight,
                would_serve=would_serve,
                right=right,
                source=source,
                value=what.value,
            )
        )

    @contextmanager
    def _reading(self, place: Place, terms: SemanticCache) -> Generator[tuple[Front, Learner]]:
        """Lock a partition's front and its step's learner, and have both read the store."""
        fronts, learners = self._front(place.partition), self._learner(place, terms)
        with fronts.lock, learners.lock:
            front = fronts.current(self._store.version(), lambda: self._new_front(place))
            yield front, self._current_learner(place, terms, learners)

    def _front(self, partition: str) -> _Shelf[Front]:
        with self._lock:
            shelf = self._fronts.setdefault(partition, _Shelf())
            self._fronts.move_to_end(partition)
            is_full = len(self._fronts) > _MOST_FRONTS
            gone = self._fronts.popitem(last=False)[1] if is_full else None
        if gone is not None:
            _put_away(gone)
        return shelf

    def _learner(self, place: Place, terms: SemanticCache) -> _Shelf[Learner]:
        with self._lock:
            at = (place.scope, terms.max_wrong_rate, terms.confidence)
            return self._learners.setdefault(at, _Shelf())

    def _new_front(self, place: Place) -> Front:
        return Front(
            self._store,
            place.partition,
            self._dimensions,
            fingerprint=self._fingerprint,
            folder=self._folder,
        )

    def _current_learner(
        self, place: Place, terms: SemanticCache, shelf: _Shelf[Learner]
    ) -> Learner:
        return shelf.current(
            self._store.version(),
            lambda: Learner(self._store, place.scope, terms.max_wrong_rate, terms.confidence),
        )


def _put_away(shelf: _Shelf[Front]) -> None:
    with shelf.lock:
        if shelf.held is not None:
            shelf.held.close()
            shelf.held = None


def _judged(front: Front, learner: Learner, proof: Proof | None, finding: Finding) -> Finding:
    near = front.near(finding.vector)
    if not near:
        return finding
    like = likeness(finding.ask, near, front.centred(finding.vector, near), learner.record)
    known = front[like.neighbour.id]
    candidate = Candidate(
        like.neighbour.id, known.key, known.value, known.ask, like.neighbour.similarity
    )
    finding = replace(finding, candidate=candidate, features=like.features)
    if like.veto is not None:
        return replace(finding, vetoed=True, why=f"the wording differs: {like.veto}")
    score = learner.verifier.score(like.features)
    why = _against(proof, 1 - score)
    counts = proof is None or 1 - score <= proof.limits[-1]
    return replace(
        finding, score=score, would_serve=not why, counts=bool(counts), why=why or "verified"
    )


def _against(proof: Proof | None, doubt: float) -> str:
    """Say why a candidate of this doubt may not be served, nothing if it may."""
    if proof is None:
        return "this partition's own checks failed too often"
    if proof.level < 0:
        return f"not proven yet ({proof.evidence():.0%} of the way)"
    # Written so that a doubt that is no number is too much.
    if not doubt <= proof.limit:
        return f"too doubtful: {doubt:.2g} over {proof.limit:.2g}"
    return ""


def _bound(proof: Proof | None) -> float | None:
    if proof is None or not proof.checked:
        return None
    return anytime_upper_share(proof.wrong, proof.checked, 1 - proof.spare)
