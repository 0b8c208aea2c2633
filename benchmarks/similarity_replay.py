"""Similarity replay: questions arrive one by one at the real similar-question cache, in memory.

As it would run online: the cache starts knowing nothing, what it does not serve is asked, and what
is asked teaches it and is kept. Runs in a process of its own, so that several go side by side.
"""

import itertools
import random
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tierflow import SemanticCache
from tierflow.caching.keys import Key
from tierflow.caching.similar.findings import Finding, Place
from tierflow.caching.similar.index import PartitionIndex
from tierflow.caching.similar.memory_store import MemorySimilarStore
from tierflow.caching.similar.semantic import SimilarQuestions
from tierflow.caching.store import Labels

from .hit_figures import ASKED, GIVEN, RIGHT, WRONG, Outcomes, figures
from .question_sets import Arrivals, Pairs, Stream
from .similarity_baselines import baseline_figures

CONFIDENCE = 0.95

_TIMED_EVERY = 20
_CLOCK_STARTS = 1_700_000_000


@dataclass(frozen=True, slots=True)
class Job:
    """One run over one set. `promise`: None for the baselines. `seed`: None for its own order.

    `promises`: those of the baselines. `timed`: whether its times count too. `proof`: whether it
    is one of many orders, of which only the worst counts.
    """

    name: str
    promise: float | None
    seed: int | None
    promises: tuple[float, ...] = ()
    timed: bool = False
    proof: bool = False

    @property
    def label(self) -> str:
        """What it is, for who watches."""
        what = "baselines" if self.promise is None else f"{self.promise:g}"
        order = "in file order" if self.seed is None else f"mixed by {self.seed}"
        return f"{self.name}, {what}, {order}"


@dataclass(frozen=True, slots=True)
class Times:
    """CPU milliseconds of looking for an answer, without encoding the question.

    `decisions`: without the search of the index and without reading what was kept before; of
    every 20th question. `findings`: with both, of the others.
    """

    decisions: list[float]
    findings: list[float]


@dataclass(frozen=True, slots=True)
class Done:
    """What a job found: figures, or those of each baseline. `counts`: of arrivals."""

    job: Job
    figures: dict[str, Any]
    counts: dict[str, int]
    times: Times


def replay(
    arrivals: Arrivals, name: str, promise: float, seed: int, *, timed: bool = False
) -> tuple[Outcomes, Times]:
    """Let questions arrive at an empty cache. Return what became of each.

    `promise`: the wrong answers among hits that are allowed, at a confidence of 0.95. `seed`: of
    the sampled checks.
    """
    seconds = itertools.count(_CLOCK_STARTS)
    similar = SimilarQuestions(
        MemorySimilarStore(),
        arrivals.vectors.shape[1],
        chance=random.Random(seed).random,
        clock=lambda: float(next(seconds)),
    )
    terms = SemanticCache(max_wrong_rate=promise, confidence=CONFIDENCE)
    place = Place(scope=name, partition=name, labels=Labels(step=name))
    outcomes = np.full(len(arrivals), ASKED, np.int8)
    times = Times([], [])
    with _search_clock() as searching:
        for each, ask in enumerate(arrivals.texts):
            vector, answer = arrivals.vectors[each], arrivals.answers[each]
            if arrivals.given[each]:
                outcomes[each] = GIVEN
                finding = Finding(place, terms, ask, vector, "given")
            else:
                alone = timed and each % _TIMED_EVERY == 0
                if alone:
                    similar.explain(place, ask, vector, terms)  # reads what was kept before
                began, searched = time.thread_time(), searching()
                finding = similar.find(place, ask, vector, terms)
                took = time.thread_time() - began
                if alone:
                    times.decisions.append(1000 * (took - searching() + searched))
                else:
                    times.findings.append(1000 * took)
                if finding.served and finding.candidate is not None:
                    outcomes[each] = RIGHT if finding.candidate.value == answer else WRONG
                    continue
                if finding.teaches and finding.candidate is not None:
                    similar.learn(finding, same=finding.candidate.value == answer)
            similar.keep(finding, key=Key(str(each)), value=answer)
    similar.close()
    return outcomes, times if timed else Times([], [])


class Sets:
    """The question sets that a process has at hand: sent there once, not with every job."""

    at_hand: Mapping[str, Stream | Pairs] = {}

    @classmethod
    def take(cls, sets: Mapping[str, Stream | Pairs]) -> None:
        """Have these at hand from now on."""
        cls.at_hand = sets


def run(job: Job) -> Done:
    """Do a job on the sets at hand."""
    arrivals = Sets.at_hand[job.name].arrivals(job.seed)
    asked = int((~arrivals.given).sum())
    counts = {"asked": asked, "repeats": arrivals.repeats}
    if job.promise is None:
        found = baseline_figures(arrivals, job.promises, job.seed or 0)
        return Done(job, found, counts, Times([], []))
    outcomes, times = replay(arrivals, job.name, job.promise, job.seed or 0, timed=job.timed)
    return Done(job, figures(outcomes, arrivals.pair_same), counts, times)


@contextmanager
def _search_clock() -> Generator[Callable[[], float]]:
    """Yield a clock of the CPU seconds that this process spent searching indexes meanwhile."""
    spent = 0.0
    search = PartitionIndex.search

    def clocked(
        index: PartitionIndex, vector: NDArray[np.float32], k: int
    ) -> list[tuple[int, float]]:
        nonlocal spent
        began = time.thread_time()
        found = search(index, vector, k)
        spent += time.thread_time() - began
        return found

    PartitionIndex.search = clocked  # type: ignore[method-assign, assignment]
    try:
        yield lambda: spent
    finally:
        PartitionIndex.search = search  # type: ignore[method-assign]
