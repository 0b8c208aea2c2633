"""Scopes: over thousands of requests no question meets one that differs in more than the ask."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tierflow.caching import Key, SemanticCache, partition_key, request_key, scope_key
from tierflow.caching.similar import Place
from tierflow.caching.similar.memory_store import MemorySimilarStore
from tierflow.caching.similar.semantic import SimilarQuestions
from tierflow.caching.store import Labels
from tierflow.request import Request, Sampling, canonical_json

TERMS = SemanticCache(max_wrong_rate=0.3, confidence=0.6)
COUNT = 3000


@pytest.fixture
def similar() -> Iterator[SimilarQuestions]:
    store = MemorySimilarStore()
    questions = SimilarQuestions(store, 4, chance=lambda: 0.5, clock=lambda: 0.0)
    yield questions
    questions.close()


def fuzzed(count: int, seed: int) -> Iterator[tuple[Request, list[str]]]:
    """Yield requests of few possible values, so that many have almost all in common."""
    chance = random.Random(seed)
    words = ["Where is my parcel?", "Where is my letter?", "Is it lost?", "Who has it?"]
    for _ in range(count):
        messages: list[dict[str, Any]] = [
            {"role": chance.choice(("system", "user")), "content": chance.choice(words[:2])}
            for _ in range(chance.randrange(3))
        ]
        last: dict[str, Any] = {"role": "user", "content": chance.choice(words)}
        if chance.random() < 0.3:
            last["name"] = chance.choice(("Ada", "Eve"))
        yield (
            Request(
                step=chance.choice(("triage", "summarise")),
                messages=(*messages, last),
                prefix_messages=chance.randrange(len(messages) + 1),
                schema=chance.choice((None, {"type": "object"})),
                sampling=chance.choice((Sampling(), Sampling(seed=1))),
                logprobs=chance.random() < 0.2,
                item=chance.choice((None, "one")),
                tenant=chance.choice(("", "acme", "other")),
                arm=chance.choice(("", "new/candidate")),
            ),
            [chance.choice(("fast", "frontier"))],
        )


def all_but_the_ask(request: Request, route: list[str]) -> str:
    """Return what must be equal, written down another way than the keys do."""
    *before, last = request.messages
    last = {name: value for name, value in last.items() if name != "content"}
    rest = (request.step, request.prefix_messages, request.logprobs, request.tenant, request.arm)
    return canonical_json([before, last, request.schema, request.sampling.given(), rest, route])


@pytest.mark.parametrize("seed", [1, 2])
def test_no_question_ever_meets_one_of_elsewhere(similar: SimilarQuestions, seed: int) -> None:
    # All have the same vector: only the partition keeps them apart.
    vector = np.array([1, 0, 0, 0], np.float32)
    whose: dict[Key, str] = {}
    met = 0
    for request, route in fuzzed(COUNT, seed):
        mine, key = all_but_the_ask(request, route), request_key(request, route)
        labels = Labels(request.step, request.tenant)
        place = Place(scope_key(request, route), partition_key(request, route), labels)
        finding = similar.find(place, request.messages[-1]["content"], vector, TERMS)
        if finding.candidate is not None:
            assert whose[finding.candidate.key] == mine
            met += 1
        if key not in whose:
            whose[key] = mine
            similar.keep(finding, key, mine)
    assert met > COUNT / 20
