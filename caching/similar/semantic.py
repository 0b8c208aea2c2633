"""Similar questions: may the answer to a question like this one be served? Calls no model.

Everything but the ask is equal within a partition, by hash. What is near there is a candidate; the
verifier says how likely its answer is the right one; the proof says from where on that is enough.
Until it is proven, nothing is served.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..keys import Key
from ..policy import SemanticCache
from .findings import Candidate, Explanation, Finding, Place, Served
from .front import Front
from .learner import Learner
from .likeness import FEATURES, likeness
from .proof import Proof, upper_bound
from .store import Asked, Observation, SimilarStore

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MOST_OPEN = 1024
"""Each conversation is a partition of its own; those that nobody asks in any more are closed."""


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
        self._fronts: dict[str, tuple[Front, int | None]] = {}
        self._learners: dict[tuple[str, float, float], tuple[Learner, int | None]] = {}
        self._lock = threading.Lock()

    def find(
        self, place: Place, ask: str, vector: "NDArray[np.float32]", terms: SemanticCache
    ) -> Finding:
        """Look for a stored question whose answer may be served. Raises StoreError."""
        with self._lock:
            front, learner = self._front(place), self._learner(place, terms)
            finding = self._judged(front, learner, Finding(place, terms, ask, vector, "first ask"))
            if not finding.would_serve:
                return finding
            proof = learner.proof(place.partition)
            share = 1.0 if proof is None else proof.audit_share(1 - finding.score)
            if self._chance() < share:
                return replace(finding, weight=1 / share, why="sampled check of a would-be hit")
            return replace(finding, served=True)

    def learn(self, finding: Finding, *, same: bool, weight: float = 1.0) -> None:
        """Take in whether the candidate's answer was the same as the new one. Raises StoreError.

        `weight`: one over the share of such cases that the caller compares.
        """
        source = "audit" if finding.would_serve else "miss"
        self._observe(finding, same=same, weight=finding.weight * weight, source=source)

    def keep(self, finding: Finding, key: Key, value: str) -> int:
        """Keep the question that was asked: its answer lies under `key`. Return its id."""
        place = finding.place
        asked = Asked(place.partition, key, finding.ask, finding.vector, value, place.labels)
        with self._lock:
            return self._store.add(asked)

    def forget(self, finding: Finding) -> None:
        """Remove the candidate: its answer is no longer there."""
        if finding.candidate is not None:
            with self._lock:
                self._store.remove(finding.candidate.id)

    def reject(self, served: Served) -> None:
        """Remove a stored question, and count a wrong hit: somebody said so. Raises StoreError."""
        seen = Observation(
            scope=served.scope,
            partition=served.partition,
            at=self._clock(),
            features=served.features,
            score=served.score,
            weight=1.0,
            would_serve=True,
            right=False,
            source="feedback",
            value=served.value,
        )
        with self._lock:
            self._store.remove(served.id)
            self._store.observe(seen)

    def explain(
        self, place: Place, ask: str, vector: "NDArray[np.float32]", terms: SemanticCache
    ) -> Explanation:
        """Say what `find` would do, without sampling."""
        with self._lock:
            front, learner = self._front(place), self._learner(place, terms)
            finding = self._judged(front, learner, Finding(place, terms, ask, vector, "first ask"))
            proof = learner.proof(place.partition)
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
            for front, _ in self._fronts.values():
                front.close()
            self._fronts.clear()
            self._learners.clear()
            self._store.close()

    def _judged(self, front: Front, learner: Learner, finding: Finding) -> Finding:
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
        why = _against(learner.proof(finding.place.partition), 1 - score)
        return replace(finding, score=score, would_serve=not why, why=why or "verified")

    def _observe(self, finding: Finding, *, same: bool, weight: float, source: str) -> None:
        assert finding.candidate is not None  # noqa: S101  # whoever compares had a candidate
        seen = Observation(
            scope=finding.place.scope,
            partition=finding.place.partition,
            at=self._clock(),
            features=finding.features,
            score=finding.score,
            weight=weight,
            would_serve=finding.would_serve,
            right=same,
            source=source,
            value=finding.candidate.value,
        )
        with self._lock:
            self._store.observe(seen)
            # Now, where a model was waited for anyway, and not when the next hit is looked for.
            self._learner(finding.place, finding.terms)

    def _front(self, place: Place) -> Front:
        version = self._store.version()
        # Taken out and put back: the last one is the one that was used last.
        front, read = self._fronts.pop(place.partition, (None, None))
        if front is None:
            front = Front(
                self._store,
                place.partition,
                self._dimensions,
                fingerprint=self._fingerprint,
                folder=self._folder,
            )
            read = None
        if version is None or version != read:
            front.catch_up()
            read = version
        self._fronts[place.partition] = (front, read)
        if len(self._fronts) > _MOST_OPEN:
            longest_unused, _ = self._fronts.pop(next(iter(self._fronts)))
            longest_unused.close()
        return front

    def _learner(self, place: Place, terms: SemanticCache) -> Learner:
        version = self._store.version()
        at = (place.scope, terms.max_wrong_rate, terms.confidence)
        learner, read = self._learners.get(at, (None, None))
        if learner is None:
            learner = Learner(self._store, *at)
            read = None
        if version is None or version != read:
            learner.catch_up()
            self._learners[at] = (learner, version)
        return learner


def _against(proof: Proof | None, doubt: float) -> str:
    """Say why a candidate of this doubt may not be served, nothing if it may."""
    if proof is None:
        return "this partition's own checks failed too often"
    if proof.level < 0:
        return f"not proven yet ({proof.evidence():.0%} of the way)"
    if doubt > proof.limit:
        return f"too doubtful: {doubt:.2g} over {proof.limit:.2g}"
    return ""


def _bound(proof: Proof | None) -> float | None:
    if proof is None or not proof.checked:
        return None
    return upper_bound(proof.checked, proof.wrong, 1 - proof.spare)
