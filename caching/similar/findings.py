"""Findings: what is said of a question that may have been answered before. Values only."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..keys import Key
from ..policy import SemanticCache
from ..store import Labels

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Place:
    """Where a question is asked. `scope`: what is learned together, a step as it is now.

    `partition`: what is compared at all: the scope, the tenant and what was said before.
    """

    scope: str
    partition: str
    labels: Labels


@dataclass(frozen=True, slots=True)
class Candidate:
    """A stored question, whose answer is in the exact store under `key`."""

    id: int
    key: Key
    value: str
    ask: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found for a question, and what is to be done with it.

    `score`: the probability that the candidate's answer is right, as the verifier sees it.
    `served`: it may be served. `would_serve` without that: it is one of the sampled checks.
    `counts`: comparing it counts for the proof. `weight`: one over the probability of this check.
    `why`: one line.
    """

    place: Place
    terms: SemanticCache
    ask: str
    vector: "NDArray[np.float32]"
    why: str
    candidate: Candidate | None = None
    features: tuple[float, ...] = ()
    score: float = 0.0
    served: bool = False
    would_serve: bool = False
    vetoed: bool = False
    counts: bool = False
    weight: float = 1.0

    def as_served(self) -> "Served | None":
        """Return what takes this hit back, None if there was no candidate."""
        found = self.candidate
        if found is None:
            return None
        at = self.place
        return Served(at.scope, at.partition, found.id, found.value, self.features, self.score)

    @property
    def teaches(self) -> bool:
        """Whether comparing the candidate's answer with a new one teaches anything."""
        return self.candidate is not None and not self.vetoed


@dataclass(frozen=True, slots=True)
class Served:
    """What is needed of a finding that was served to take it back. Travels with the answer."""

    scope: str
    partition: str
    id: int
    value: str
    features: tuple[float, ...]
    score: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a question would be served from a stored one, or not. Rates are shares of hits.

    `needed`: the probability of being right from which on is served, None while nothing is
    proven. `evidence`: how far the proof is, 1 when it is there. `checked`, `wrong`: the checks
    it rests on, near misses too. `bound`: the rate of wrong ones among these at most, at any time
    and with the confidence of the terms. `drifts`: how often proof was thrown away.
    """

    finding: Finding
    features: dict[str, float]
    needed: float | None
    evidence: float
    checked: int
    wrong: int
    bound: float | None
    drifts: int
    questions: int
