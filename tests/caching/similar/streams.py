"""Streams: questions with known answers that arrive one by one, and what became of them."""

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.caching.answers import key_of
from tests.caching.similar.clouds import Vectors, unit
from tierflow.caching import SemanticCache
from tierflow.caching.similar.findings import Finding, Place
from tierflow.caching.similar.memory_store import MemorySimilarStore
from tierflow.caching.similar.semantic import SimilarQuestions
from tierflow.caching.similar.store import SimilarStore
from tierflow.caching.store import Labels

DIMS = 24
ASK = "How is this one to be answered?"


@dataclass(frozen=True, slots=True)
class Stream:
    """Unit vectors of questions, (n, d), and the answer that each has."""

    vectors: Vectors
    answers: Sequence[str]


def stream(
    count: int, seed: int, *, kinds: int = 12, noise: float = 0.12, odd: float = 0.02
) -> Stream:
    """Return questions of some kinds. `odd`: the share whose answer is that of another kind."""
    random = np.random.default_rng(seed)
    topics = unit(np.random.default_rng(7).normal(size=(kinds, DIMS)))
    kind = random.integers(0, kinds, count)
    vectors = unit(topics[kind] + noise * random.normal(size=(count, DIMS)))
    answer = np.where(random.random(count) < odd, random.integers(0, kinds, count), kind)
    return Stream(vectors, [f"answer {each}" for each in answer])


def open_questions(
    store: SimilarStore | None = None, seed: int = 0, *, folder: Path | None = None
) -> SimilarQuestions:
    """Return the similar-question cache of one process, in memory unless a store is given."""
    return SimilarQuestions(
        MemorySimilarStore() if store is None else store,
        DIMS,
        chance=random.Random(seed).random,
        clock=map(float, itertools.count(1_800_000_000)).__next__,
        folder=folder,
    )


def place(
    partition: str = "p", scope: str = "s", *, step: str = "triage", tenant: str = ""
) -> Place:
    """Return where a step asks."""
    return Place(scope, partition, Labels(step, tenant))


def ask_all(
    questions: SimilarQuestions, asked: Stream, at: Place, terms: SemanticCache, ask: str = ASK
) -> list[tuple[Finding, bool]]:
    """Ask a stream, as the steps do: what is not served teaches, and is kept.

    Return what was found for each, and whether the candidate's answer was the right one.
    """
    found: list[tuple[Finding, bool]] = []
    for vector, answer in zip(asked.vectors, asked.answers, strict=True):
        finding = questions.find(at, ask, vector, terms)
        right = finding.candidate is not None and finding.candidate.value == answer
        found.append((finding, right))
        if not finding.served:
            if finding.teaches:
                questions.learn(finding, same=right)
            questions.keep(finding, key_of(f"{at.partition} {len(found)}"), answer)
    return found
