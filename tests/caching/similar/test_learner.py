"""What is learned is a fold over the checks: whoever reads them has learned the same."""

from typing import Any

import numpy as np
import pytest

from tests.caching.similar.questions import observation
from tierflow.caching.similar import learner as module
from tierflow.caching.similar.learner import Learner
from tierflow.caching.similar.likeness import FEATURES
from tierflow.caching.similar.memory_store import MemorySimilarStore
from tierflow.caching.similar.store import Observation, SimilarStore

PROMISE = 0.1


def check(right: bool = True, **given: Any) -> Observation:
    fields: dict[str, Any] = {"features": (0.0,) * len(FEATURES), "score": 0.999, "weight": 1.0}
    fields |= {"would_serve": False, "right": right}
    return observation(given.pop("scope", "s"), **(fields | given))


def checks(count: int, seed: int = 0, **given: Any) -> list[Observation]:
    """Checks in which the first feature tells what is right."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(count, len(FEATURES)))
    return [
        check(
            right=bool(row[0] > -1.5),
            features=tuple(row.tolist()),
            score=float(1 / (1 + np.exp(-4 * row[0] - 6))),
            would_serve=bool(row[0] > 1 and number > 200),
            weight=1.0 if row[0] < 1 else 3.0,
            value=f"answer {number % 5}",
            **given,
        )
        for number, row in enumerate(rows)
    ]


def open_learner(store: SimilarStore, scope: str = "s", promise: float = PROMISE) -> Learner:
    return Learner(store, scope, promise, 0.95)


def observe(store: SimilarStore, those: list[Observation]) -> None:
    for each in those:
        store.observe(each)


def state(learner: Learner, partition: str = "p") -> object:
    proof = learner.proof(partition)
    return (
        learner.record,
        learner.drifts,
        proof and (proof.level, proof.checked, proof.wrong, proof.hits, proof.evidence()),
    )


def test_who_reads_it_all_at_once_has_learned_what_who_lived_through_it_has(
    similar_store: SimilarStore,
) -> None:
    living = open_learner(similar_store)
    for number, each in enumerate(checks(500)):
        similar_store.observe(each)
        if number % 7 == 0:
            living.catch_up()
    living.catch_up()

    late = open_learner(similar_store)

    proof = late.proof("p")
    assert proof is not None
    assert proof.level >= 0
    assert state(late) == state(living)
    for each in checks(50, seed=1):
        assert late.verifier.score(each.features) == pytest.approx(
            living.verifier.score(each.features), abs=0.1
        )


def test_two_that_read_the_same_agree() -> None:
    store = MemorySimilarStore()
    one, other = open_learner(store), open_learner(store)
    for turn in range(5):
        observe(store, checks(100, seed=turn))
        one.catch_up()
    other.catch_up()

    assert state(one) == state(other)
    for each in checks(50, seed=9):
        assert one.verifier.score(each.features) == other.verifier.score(each.features)


def test_pages_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemorySimilarStore()
    observe(store, checks(300))
    whole = open_learner(store)
    monkeypatch.setattr(module, "_PAGE", 7)
    assert state(open_learner(store)) == state(whole)


def test_of_very_many_checks_the_newest_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 100)
    store = MemorySimilarStore()
    observe(store, [check(right=False) for _ in range(50)] + [check() for _ in range(100)])
    learner = open_learner(store)
    proof = learner.proof("p")
    assert proof is not None
    assert (proof.checked, proof.wrong) == (100, 0)
    observe(store, [check()])
    learner.catch_up()
    assert proof.checked == 101


def test_checks_of_another_scope_teach_nothing() -> None:
    store = MemorySimilarStore()
    observe(store, checks(300, scope="another"))
    learner = open_learner(store)
    learner.catch_up()
    assert state(learner) == state(open_learner(MemorySimilarStore()))


def test_a_partition_without_checks_goes_by_the_proof_of_the_step() -> None:
    store = MemorySimilarStore()
    observe(store, [check(partition="a") for _ in range(100)])
    proof = open_learner(store).proof("never seen")
    assert proof is not None
    assert proof.level >= 0


def test_a_partition_whose_checks_fail_is_blocked_while_the_proof_of_the_step_stands() -> None:
    store = MemorySimilarStore()
    observe(store, [check(partition="a") for _ in range(1000)])
    observe(store, [check(right=False, partition="b", would_serve=True) for _ in range(4)])
    learner = open_learner(store)

    assert learner.proof("b") is None
    assert learner.drifts == 0
    others = learner.proof("c")
    assert others is not None
    assert others.level >= 0

    # Misses go on teaching: it comes back by a proof of its own.
    observe(store, [check(partition="b") for _ in range(300)])
    learner.catch_up()
    own = learner.proof("b")
    assert own is not None
    assert own is not others
    assert own.level >= 0


def test_a_partition_with_a_proof_of_its_own_goes_by_it() -> None:
    store = MemorySimilarStore()
    observe(store, [check(partition="a") for _ in range(100)])
    # The rest of the step is not like it.
    observe(store, [check(right=False, partition="b") for _ in range(60)])
    learner = open_learner(store)
    own, pooled = learner.proof("a"), learner.proof("c")
    assert own is not None
    assert pooled is not None
    assert (own.level >= 0, pooled.level) == (True, -1)
    assert (own.checked, pooled.checked) == (100, 160)


def test_drift_of_the_step_throws_away_the_proof_of_its_parts() -> None:
    store = MemorySimilarStore()
    observe(store, [check(partition="a") for _ in range(100)])
    learner = open_learner(store)
    observe(store, [check(right=False, partition="b", would_serve=True) for _ in range(15)])
    learner.catch_up()
    assert learner.drifts >= 1
    for partition in "abc":
        proof = learner.proof(partition)
        assert proof is None or proof.level == -1
    assert state(open_learner(store)) == state(learner)


def test_each_promise_has_a_proof_of_its_own() -> None:
    store = MemorySimilarStore()
    observe(store, [check() for _ in range(100)])
    strict, loose = (open_learner(store, promise=each).proof("p") for each in (0.01, 0.1))
    assert strict is not None
    assert loose is not None
    assert (strict.level, loose.level >= 0) == (-1, True)


def test_checks_made_with_other_features_still_count_as_proof_but_teach_no_likeness() -> None:
    store = MemorySimilarStore()
    observe(store, [check(features=(1.0, 2.0)) for _ in range(100)])
    learner = open_learner(store)
    proof = learner.proof("p")
    assert proof is not None
    assert proof.checked == 100
    assert learner.verifier.score((0.0,) * len(FEATURES)) == 0.0
