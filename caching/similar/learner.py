"""Learner: what the checks of one step have taught so far. A fold over the store's observations.

One verifier for the step. Proof for the step as a whole, and for each partition of it (a tenant,
a conversation): a partition goes by its own proof as soon as it has one, and until then by the
step's, unless its own checks speak against that.
"""

from collections import OrderedDict
from math import log

from .likeness import CONSENSUS, FEATURES
from .proof import Proof
from .store import Observation, SimilarStore
from .verifier import Verifier

_PAGE = 5000
_REMEMBERED = 10_000
"""Of older observations nothing is kept in memory; the newest are proof enough."""

_AGAINST = 2.0
_MOST_PARTITIONS = 1024
"""So many partitions have a proof of their own, those checked last."""


class Learner:
    """What is learned of one step under one promise. Not thread-safe."""

    def __init__(self, store: SimilarStore, scope: str, promise: float, confidence: float) -> None:
        self._store, self.scope = store, scope
        self.promise, self.confidence = promise, confidence
        self.verifier = Verifier(len(FEATURES), len(CONSENSUS))
        self.record: dict[str, tuple[int, int]] = {}
        self.drifts = 0
        self._last = 0
        self._pooled = Proof(promise, confidence)
        self._own: OrderedDict[str, Proof] = OrderedDict()
        self._against: dict[str, float] = {}
        self._begin()

    def proof(self, partition: str) -> Proof | None:
        """Return the proof that a partition goes by, None if its checks speak against both."""
        own = self._own.get(partition)
        if own is not None and own.level >= 0:
            return own
        return None if self._against.get(partition, 0.0) > _AGAINST else self._pooled

    def catch_up(self) -> None:
        """Take in the observations since the last time, by whichever process."""
        while lines := self._store.observations(self.scope, self._last, _PAGE):
            for number, each in lines:
                self._last = number
                self._take(each)
                self.verifier.learn(each.features, right=each.right, weight=each.weight)

    def _begin(self) -> None:
        for number, each in self._store.newest(self.scope, _REMEMBERED):
            self._last = number
            self._take(each)
            self.verifier.remember(each.features, right=each.right, weight=each.weight)
        self.verifier.fit()

    def _take(self, seen: Observation) -> None:
        right, wrong = self.record.get(seen.value, (0, 0))
        self.record[seen.value] = (right + seen.right, wrong + (not seen.right))
        doubt = 1 - seen.score
        if seen.would_serve:
            self._weigh(seen)
        own = self._own.get(seen.partition)
        if own is None:
            own = self._own[seen.partition] = Proof(self.promise, self.confidence)
        self._own.move_to_end(seen.partition)
        if len(self._own) > _MOST_PARTITIONS:
            gone, _ = self._own.popitem(last=False)
            self._against.pop(gone, None)
        for proof in (own, self._pooled):
            if proof.add(
                doubt=doubt, right=seen.right, weight=seen.weight, would_serve=seen.would_serve
            ):
                self._drifted(proof)

    def _weigh(self, seen: Observation) -> None:
        """Weigh a rate of twice the promise against the promise, by this partition's checks."""
        twice = min(2 * self.promise, 0.99)
        step = log((1 - twice) / (1 - self.promise)) if seen.right else log(twice / self.promise)
        self._against[seen.partition] = max(0.0, self._against.get(seen.partition, 0.0) + step)

    def _drifted(self, proof: Proof) -> None:
        self.drifts += 1
        if proof is self._pooled:
            # What was proven of the parts was proven in the same old world.
            self._own.clear()
            self._against.clear()
