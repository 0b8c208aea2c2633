"""The similar-question cache serves what is proven, nothing before, and nothing of others."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import comb
from pathlib import Path

import numpy as np
import pytest

from tests.caching.answers import key_of
from tests.caching.similar.conftest import Opener
from tests.caching.similar.streams import (
    ASK,
    DIMS,
    Stream,
    ask_all,
    open_questions,
    place,
    stream,
)
from tierflow.caching import Key, SemanticCache
from tierflow.caching.similar import front
from tierflow.caching.similar import semantic as module
from tierflow.caching.similar.findings import Finding, Place
from tierflow.caching.similar.memory_store import MemorySimilarStore
from tierflow.caching.similar.semantic import SimilarQuestions
from tierflow.caching.similar.store import SimilarStore

TERMS = SemanticCache(max_wrong_rate=0.2, confidence=0.9)
CLEAR = stream(300, 0, odd=0.0)
HERE = place()


def taught(store: SimilarStore | None = None, at: Place = HERE) -> SimilarQuestions:
    """A cache for which it is proven that similar questions have the same answer."""
    questions = open_questions(store)
    ask_all(questions, CLEAR, at, TERMS)
    return questions


def would_serve(questions: SimilarQuestions, at: Place = HERE) -> list[bool]:
    return [
        questions.explain(at, ASK, vector, TERMS).finding.would_serve
        for vector in stream(20, 1).vectors
    ]


def hits(found: list[tuple[Finding, bool]]) -> list[bool]:
    return [right for finding, right in found if finding.served]


def first_hit(questions: SimilarQuestions, at: Place = HERE) -> Finding:
    for vector in stream(200, 5).vectors:
        finding = questions.find(at, ASK, vector, TERMS)
        if finding.served:
            return finding
    raise AssertionError("nothing was served")


# --- proof


def test_nothing_is_served_before_it_is_proven() -> None:
    questions = open_questions()
    terms = SemanticCache(max_wrong_rate=0.05)
    found = ask_all(questions, stream(150, 0, odd=0.0), HERE, terms)
    assert hits(found) == []
    assert found[0][0].why == "first ask"
    assert found[0][0].candidate is None
    assert not found[0][0].teaches
    assert all(finding.teaches for finding, _ in found[1:])
    assert "not proven yet" in found[-1][0].why
    explanation = questions.explain(HERE, ASK, CLEAR.vectors[0], terms)
    assert (explanation.needed, explanation.questions) == (None, 150)
    assert 0 < explanation.evidence < 1


def test_what_is_proven_is_served_and_some_of_it_checked() -> None:
    questions = open_questions()
    found = ask_all(questions, stream(600, 0, odd=0.0), HERE, TERMS)
    assert len(hits(found)) > 100
    checked = [each for each, _ in found if each.would_serve and not each.served]
    assert checked
    assert all(each.weight >= 1 and "sampled" in each.why for each in checked)
    assert max(each.weight for each in checked) > 1
    explanation = questions.explain(HERE, ASK, CLEAR.vectors[0], TERMS)
    assert explanation.evidence >= 1
    assert explanation.needed is not None
    assert 0 < explanation.needed < 1
    assert explanation.bound is not None
    assert explanation.wrong / explanation.checked <= explanation.bound < 0.2


def test_where_the_answers_are_random_nothing_is_ever_served() -> None:
    for seed in range(3):
        found = ask_all(open_questions(seed=seed), stream(400, seed, odd=1.0), HERE, TERMS)
        assert hits(found) == []


def test_the_promise_is_kept_as_often_as_the_confidence_says() -> None:
    terms = SemanticCache(max_wrong_rate=0.05, confidence=0.95)
    broken = served = 0
    for seed in range(40):
        asked = stream(420, seed, noise=0.2, odd=0.005)
        right = hits(ask_all(open_questions(seed=seed), asked, HERE, terms))
        served += len(right) > 0
        broken += right.count(False) > 0.05 * len(right)
    # More would come about in less than 1 of 100 cases if it were kept with that confidence.
    tail = [sum(comb(40, k) * 0.05**k * 0.95 ** (40 - k) for k in range(n, 41)) for n in range(41)]
    assert broken < next(n for n, chance in enumerate(tail) if chance < 0.01)
    assert served >= 15


def test_what_is_served_goes_back_to_nothing_when_the_world_changes() -> None:
    questions = taught()
    assert any(would_serve(questions))
    # From now on each kind has another answer, and what is checked shows it.
    ask_all(questions, Stream(CLEAR.vectors, ["new"] * len(CLEAR.answers)), HERE, TERMS)
    explanation = questions.explain(HERE, ASK, CLEAR.vectors[0], TERMS)
    assert explanation.drifts >= 1


def test_a_question_whose_wording_differs_is_neither_served_nor_a_check() -> None:
    questions = taught()
    (vector,) = stream(1, 3).vectors
    assert questions.find(HERE, ASK, vector, TERMS).would_serve
    finding = questions.find(HERE, "How is this one not to be answered?", vector, TERMS)
    assert (finding.vetoed, finding.served, finding.would_serve) == (True, False, False)
    assert not finding.teaches
    assert finding.why == "the wording differs: negation"


def test_other_terms_have_a_proof_of_their_own() -> None:
    questions = taught()
    strict = SemanticCache(max_wrong_rate=0.001)
    assert not questions.find(HERE, ASK, CLEAR.vectors[0], strict).would_serve
    assert questions.find(HERE, ASK, CLEAR.vectors[0], TERMS).would_serve


# --- partitions


def test_no_question_is_answered_from_another_partition() -> None:
    questions, luck = open_questions(), random.Random(1)
    places = [place(name, tenant=name) for name in ("a", "b", "c", "d")]
    asked = stream(2500, 2, noise=0.05, odd=0.0)
    owner: dict[int, str] = {}
    served = 0
    for number, (vector, answer) in enumerate(zip(asked.vectors, asked.answers, strict=True)):
        at = luck.choice(places)
        finding = questions.find(at, ASK, vector, TERMS)
        if finding.candidate is not None:
            assert owner[finding.candidate.id] == at.partition
            assert finding.candidate.value.startswith(at.partition)
        served += finding.served
        if finding.served:
            continue
        if finding.teaches and finding.candidate is not None:
            questions.learn(finding, same=finding.candidate.value == f"{at.partition} {answer}")
        id_ = questions.keep(finding, key_of(str(number)), f"{at.partition} {answer}")
        owner[id_] = at.partition
    assert served > 1000


def test_what_one_scope_has_learned_another_has_not() -> None:
    questions = taught()
    other = place("elsewhere", "another scope")
    ask_all(questions, stream(40, 8), other, TERMS)
    assert not any(would_serve(questions, other))


def test_a_new_partition_of_the_scope_is_served_by_what_the_scope_has_learned() -> None:
    questions = taught()
    new = place("new")
    ask_all(questions, stream(60, 8, odd=0.0), new, TERMS)
    assert any(would_serve(questions, new))


def test_partitions_that_nobody_asks_in_are_closed_and_open_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "_MOST_FRONTS", 3)
    monkeypatch.setattr(front, "SAVED_FROM", 1)
    questions = open_questions(folder=tmp_path)
    places = [place(f"conversation{number}") for number in range(9)]
    for at in places:
        ask_all(questions, stream(5, 0), at, TERMS)
    # What is closed is saved, and three are open.
    assert sorted(path.stem for path in tmp_path.iterdir()) == [at.partition for at in places[:6]]
    for at in (places[0], places[8]):
        finding = questions.find(at, ASK, stream(5, 0).vectors[2], TERMS)
        assert finding.candidate is not None
        assert finding.candidate.similarity == pytest.approx(1.0, abs=1e-2)
    # Of those that were open the one that was used first had to go, and no other.
    assert sorted(path.stem for path in tmp_path.iterdir()) == [at.partition for at in places[:7]]


# --- taking back


def test_a_rejected_hit_is_removed_and_counts_as_wrong(similar_store: SimilarStore) -> None:
    questions = taught(similar_store)
    finding = first_hit(questions)
    served, candidate = finding.as_served(), finding.candidate
    assert served is not None
    assert candidate is not None
    before = questions.explain(HERE, ASK, finding.vector, TERMS)

    questions.reject(served)
    # One hit is wrong once, however often it is said.
    questions.reject(served)

    after = questions.explain(HERE, ASK, finding.vector, TERMS)
    assert (after.questions, after.wrong) == (before.questions - 1, before.wrong + 1)
    assert after.checked == before.checked + 1
    assert after.finding.candidate is not None
    assert after.finding.candidate.id != candidate.id
    *_, (_, seen) = similar_store.observations("s", 0)
    assert (seen.source, seen.right, seen.would_serve) == ("feedback", False, True)
    assert (seen.value, seen.features) == (candidate.value, finding.features)


def test_enough_rejected_hits_end_the_serving() -> None:
    questions = taught()
    for _ in range(10):
        if any(would_serve(questions)):
            served = first_hit(questions).as_served()
            assert served is not None
            questions.reject(served)
    assert not any(would_serve(questions))


def test_a_forgotten_candidate_is_no_candidate_any_more_and_counts_for_nothing() -> None:
    questions = taught()
    finding = first_hit(questions)
    assert finding.candidate is not None
    before = questions.explain(HERE, ASK, finding.vector, TERMS)

    questions.forget(finding)
    questions.forget(finding)

    after = questions.explain(HERE, ASK, finding.vector, TERMS)
    assert after.questions == before.questions - 1
    assert (after.checked, after.wrong) == (before.checked, before.wrong)
    assert after.finding.candidate is not None
    assert after.finding.candidate.id != finding.candidate.id


def test_a_first_ask_has_nothing_to_forget_and_nothing_to_take_back() -> None:
    questions = open_questions()
    finding = questions.find(HERE, ASK, CLEAR.vectors[0], TERMS)
    assert finding.as_served() is None
    questions.forget(finding)


# --- other processes


def until(happened: Callable[[], bool], at_once: bool) -> bool:
    """PostgreSQL tells others by polling; in one file the next look must show it."""
    return happened() if at_once else any(happened() for _ in range(100_000))


def test_what_another_removes_or_adds_is_seen_by_the_next_question(
    open_similar: Opener, request: pytest.FixtureRequest
) -> None:
    at_once = "sqlite" in request.node.callspec.id
    one, other = open_questions(open_similar()), open_questions(open_similar())
    asked = stream(3, 0, noise=1.0)
    first = one.find(HERE, ASK, asked.vectors[0], TERMS)
    assert first.candidate is None
    id_ = other.keep(other.find(HERE, ASK, asked.vectors[0], TERMS), Key("k"), "v")

    def found() -> int | None:
        candidate = one.find(HERE, ASK, asked.vectors[0], TERMS).candidate
        return None if candidate is None else candidate.id

    assert until(lambda: found() == id_, at_once)
    other.forget(other.find(HERE, ASK, asked.vectors[0], TERMS))
    assert until(lambda: found() is None, at_once)
    one.close()
    other.close()


def test_what_another_learned_is_known_by_the_next_question(tmp_path: Path) -> None:
    from tierflow.caching.similar.sqlite_store import SqliteSimilarStore

    one, other = (open_questions(SqliteSimilarStore(tmp_path / "similar.db")) for _ in range(2))
    assert not any(would_serve(one))
    ask_all(other, CLEAR, HERE, TERMS)
    assert any(would_serve(one))
    assert would_serve(one) == would_serve(other)
    one.close()
    other.close()


@pytest.mark.parametrize("index", ["saved", "lost", "damaged", "not kept"])
def test_closing_and_opening_again_keeps_what_was_learned(
    tmp_path: Path, index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tierflow.caching.similar.sqlite_store import SqliteSimilarStore

    monkeypatch.setattr(front, "SAVED_FROM", 1)
    folder = None if index == "not kept" else tmp_path / "indexes"

    def opened() -> SimilarQuestions:
        return open_questions(SqliteSimilarStore(tmp_path / "similar.db"), folder=folder)

    questions = opened()
    ask_all(questions, CLEAR, HERE, TERMS)
    before = questions.explain(HERE, ASK, CLEAR.vectors[0], TERMS)
    questions.close()
    assert (tmp_path / "indexes" / "p.index").exists() == (folder is not None)
    if index == "lost":
        (tmp_path / "indexes" / "p.index").unlink()
    if index == "damaged":
        (tmp_path / "indexes" / "p.index").write_bytes(b"tfsimidx and no more")

    for again in (opened(), questions):
        after = again.explain(HERE, ASK, CLEAR.vectors[0], TERMS)
        assert (after.questions, after.checked, after.wrong, after.needed) == (
            before.questions,
            before.checked,
            before.wrong,
            before.needed,
        )
        assert after.finding.candidate == before.finding.candidate
        assert after.finding.would_serve
        again.close()


# --- looking, and many at once


def test_explaining_changes_nothing() -> None:
    store = MemorySimilarStore()
    questions = taught(store)
    expected = open_questions(store)
    version, told = store.version(), would_serve(questions)
    for _ in range(3):
        assert would_serve(questions) == told
    assert store.version() == version
    explained = questions.explain(HERE, ASK, CLEAR.vectors[1], TERMS)
    assert len(explained.features) == len(explained.finding.features)
    assert not explained.finding.served
    finding = questions.find(HERE, ASK, CLEAR.vectors[1], TERMS)
    assert finding.score == explained.finding.score
    assert (
        open_questions(store).explain(HERE, ASK, CLEAR.vectors[1], TERMS).evidence
        == expected.explain(HERE, ASK, CLEAR.vectors[1], TERMS).evidence
    )


def test_threads_may_share_it(tmp_path: Path) -> None:
    from tierflow.caching.similar.sqlite_store import SqliteSimilarStore

    store = SqliteSimilarStore(tmp_path / "similar.db")
    questions = open_questions(store)

    def work(thread: int) -> tuple[int, int]:
        kept = learned = 0
        at = place("ab"[thread % 2])
        asked = stream(60, thread, odd=0.0)
        for vector, answer in zip(asked.vectors, asked.answers, strict=True):
            finding = questions.find(at, ASK, vector, TERMS)
            questions.explain(at, ASK, vector, TERMS)
            if finding.candidate is not None and not finding.served:
                questions.learn(finding, same=finding.candidate.value == answer)
                learned += 1
            if not finding.served:
                questions.keep(finding, key_of(f"{thread} {kept}"), answer)
                kept += 1
        return kept, learned

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(work, range(8)))

    assert sum(store.partitions().values()) == sum(kept for kept, _ in done)
    assert len(store.observations("s", 0)) == sum(learned for _, learned in done)
    for name in "ab":
        explanation = questions.explain(place(name), ASK, CLEAR.vectors[0], TERMS)
        assert explanation.questions == store.partitions()[name]
    questions.close()


def test_a_vector_of_another_size_is_refused() -> None:
    questions = taught()
    with pytest.raises(ValueError, match="dimensions"):
        questions.find(HERE, ASK, np.ones(DIMS + 1, np.float32), TERMS)
