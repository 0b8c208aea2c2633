"""The contract of every similar store: what it keeps, tells of changes, finds and forgets."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Barrier

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.caching.similar.questions import direction, live, observation, question, tail
from tierflow.caching.similar.memory_store import MemorySimilarStore
from tierflow.caching.similar.store import Change, SimilarStore
from tierflow.caching.store import Labels, Selection

_example = count()

words = st.sampled_from(["", "a", "b", 'c"\\', "ü ✓", ","])
some_labels = st.builds(Labels, words, words, words, st.lists(words, max_size=3).map(tuple))
selections = st.builds(Selection, *[st.none() | words] * 4)
asks = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
same_store = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)


@same_store
@given(asks, some_labels)
def test_a_question_comes_back_as_it_was_asked(
    similar_store: SimilarStore, ask: str, labels: Labels
) -> None:
    partition = f"p{next(_example)}"
    asked = question(ask, partition, labels=labels)
    id_ = similar_store.add(asked)
    (change,) = similar_store.changes(partition, 0)
    found = change.asked
    assert change.id == id_
    assert found is not None
    assert (found.partition, found.key, found.ask) == (partition, asked.key, ask)
    assert (found.value, found.labels) == (asked.value, labels)
    assert found.vector.dtype == np.float32
    np.testing.assert_allclose(found.vector, asked.vector, atol=1e-3)


def test_ids_and_numbers_rise(similar_store: SimilarStore) -> None:
    ids = [similar_store.add(question(str(number))) for number in range(5)]
    assert ids == sorted(set(ids))
    numbers = [change.seq for change in similar_store.changes("p", 0)]
    assert numbers == sorted(set(numbers))
    assert numbers[0] > 0


def test_changes_tell_what_is_new_since_a_number(similar_store: SimilarStore) -> None:
    similar_store.add(question("first"))
    (first,) = similar_store.changes("p", 0)
    assert similar_store.changes("p", first.seq) == []
    id_ = similar_store.add(question("second"))
    similar_store.add(question("elsewhere", "another partition"))
    (second,) = similar_store.changes("p", first.seq)
    assert second.id == id_


def test_a_removal_is_a_change_of_its_own(similar_store: SimilarStore) -> None:
    keep, go = (similar_store.add(question(ask)) for ask in ("keep", "go"))
    seen = tail(similar_store, "p")[-1].seq
    assert similar_store.remove(go)
    (change,) = similar_store.changes("p", seen)
    assert (change.id, change.asked) == (go, None)
    # Who reads from the start finds no trace of its text.
    assert live(tail(similar_store, "p")) == {keep: "keep"}
    assert [(each.id, each.asked is None) for each in tail(similar_store, "p")] == [
        (keep, False),
        (go, True),
    ]
    assert not similar_store.remove(go)
    assert not similar_store.remove(12_345)
    assert similar_store.changes("p", change.seq) == []


@same_store
@given(
    steps=st.lists(st.tuples(st.sampled_from("aaar"), st.integers(0, 7), st.booleans())),
    limit=st.integers(1, 4),
)
def test_whoever_reads_the_changes_now_and_then_knows_what_is_there(
    similar_store: SimilarStore, steps: list[tuple[str, int, bool]], limit: int
) -> None:
    partition = f"fold{next(_example)}"
    expected: dict[int, str] = {}
    seen: list[Change] = []
    after = 0
    for what, number, reads in steps:
        if what == "a":
            id_ = similar_store.add(question(str(number), partition))
            # It replaces the one of the same key.
            expected = {known: ask for known, ask in expected.items() if ask != str(number)}
            expected[id_] = str(number)
        elif expected:
            going = list(expected)[number % len(expected)]
            assert similar_store.remove(going)
            del expected[going]
        if reads:
            lines = similar_store.changes(partition, after, limit)
            seen += lines
            after = lines[-1].seq if lines else after
    seen += tail(similar_store, partition, after, limit)
    assert live(seen) == expected
    assert similar_store.partitions().get(partition, 0) == len(expected)


@same_store
@given(st.lists(some_labels, max_size=6), selections)
def test_invalidation_removes_what_fits_the_selection_and_nothing_else(
    similar_store: SimilarStore, kept: list[Labels], which: Selection
) -> None:
    similar_store.invalidate(Selection())
    example = next(_example)
    filed = {
        similar_store.add(question(str(number), f"i{example} {number % 2}", labels=labels)): labels
        for number, labels in enumerate(kept)
    }
    meant = {id_ for id_, labels in filed.items() if which.holds(labels)}
    assert similar_store.invalidate(which) == len(meant)
    changes = [*tail(similar_store, f"i{example} 0"), *tail(similar_store, f"i{example} 1")]
    assert live(changes).keys() == filed.keys() - meant
    assert {change.id for change in changes} == filed.keys()
    assert similar_store.invalidate(which) == 0


def test_removed_lines_can_be_read_one_by_one(similar_store: SimilarStore) -> None:
    ids = {similar_store.add(question(str(number))) for number in range(5)}
    seen = tail(similar_store, "p")[-1].seq
    assert similar_store.invalidate(Selection(step="triage")) == 5
    assert {change.id for change in tail(similar_store, "p", seen, limit=1)} == ids


def test_the_nearest_are_those_of_the_greatest_cosine(similar_store: SimilarStore) -> None:
    vectors = [direction(seed, 32) for seed in range(200)]
    ids = [
        similar_store.add(question(str(number), vector=vector))
        for number, vector in enumerate(vectors)
    ]
    asked = direction(1000, 32)
    cosines = np.stack(vectors) @ asked
    best = np.argsort(-cosines)[:5]
    found = similar_store.nearest("p", asked, 5)
    assert [id_ for id_, _ in found] == [ids[place] for place in best]
    np.testing.assert_allclose([cosine for _, cosine in found], cosines[best], atol=2e-3)


def test_the_nearest_are_sought_in_one_partition_among_what_is_there(
    similar_store: SimilarStore,
) -> None:
    ask = direction(1)
    similar_store.add(question("same", "another partition", vector=ask))
    going = similar_store.add(question("going", vector=ask))
    far = similar_store.add(question("far", vector=-ask))
    assert [id_ for id_, _ in similar_store.nearest("p", ask, 9)] == [going, far]
    similar_store.remove(going)
    ((id_, cosine),) = similar_store.nearest("p", ask, 9)
    assert id_ == far
    assert cosine == pytest.approx(-1, abs=2e-3)
    assert similar_store.nearest("nobody's", ask, 3) == []


@pytest.mark.parametrize("dims", [3, 384, 4096])
def test_vectors_of_any_length_are_kept_and_found(similar_store: SimilarStore, dims: int) -> None:
    similar_store.add(question("other space", "other", vector=direction(7, 8)))
    vector = direction(7, dims)
    id_ = similar_store.add(question("long", vector=vector))
    ((found, cosine),) = similar_store.nearest("p", vector, 3)
    assert found == id_
    assert cosine == pytest.approx(1, abs=2e-3)


def test_observations_come_back_as_they_were_in_order(similar_store: SimilarStore) -> None:
    made = [
        observation(score=0.5),
        observation(right=True, source="audit", features=()),
        observation(would_serve=False, weight=1.0, at=7.125),
    ]
    numbers = [similar_store.observe(each) for each in made]
    similar_store.observe(observation("another scope"))
    assert numbers == sorted(set(numbers))
    expected = list(zip(numbers, made, strict=True))
    assert similar_store.observations("s", 0) == expected
    assert similar_store.observations("s", numbers[0]) == expected[1:]
    assert similar_store.observations("s", 0, 2) == expected[:2]
    assert similar_store.observations("nobody's", 0) == []


def test_the_newest_observations_come_oldest_first(similar_store: SimilarStore) -> None:
    made = [observation(at=float(number)) for number in range(5)]
    numbers = [similar_store.observe(each) for each in made]
    similar_store.observe(observation("another scope"))
    kept = list(zip(numbers, made, strict=True))
    assert similar_store.newest("s", 2) == kept[3:]
    assert similar_store.newest("s", 9) == kept
    assert similar_store.newest("s", 0) == []
    assert similar_store.newest("nobody's", 2) == []


def test_a_question_replaces_the_one_of_its_partition_and_key(similar_store: SimilarStore) -> None:
    first = similar_store.add(question("a"))
    others = [similar_store.add(question("b")), similar_store.add(question("a", "elsewhere"))]
    seen = tail(similar_store, "p")[-1].seq
    again = similar_store.add(question("a", vector=direction(1)))
    assert again > first
    changes = similar_store.changes("p", seen)
    assert [(each.id, each.asked is None) for each in changes] == [(first, True), (again, False)]
    assert live(tail(similar_store, "p")) == {others[0]: "b", again: "a"}
    assert live(tail(similar_store, "elsewhere")) == {others[1]: "a"}
    assert similar_store.partitions() == {"elsewhere": 1, "p": 2}
    assert not similar_store.remove(first)
    assert similar_store.remove(again)
    assert live([*similar_store.changes("p", 0)]) == {others[0]: "b"}


def test_threads_that_add_one_question_leave_one(similar_store: SimilarStore) -> None:
    together = Barrier(6)

    def write(_: int) -> int:
        together.wait()
        return max(similar_store.add(question("a")) for _ in range(5))

    with ThreadPoolExecutor(6) as pool:
        ids = list(pool.map(write, range(6)))
    assert live(tail(similar_store, "p")) == {max(ids): "a"}
    assert similar_store.partitions() == {"p": 1}
    assert list(similar_store.faults()) == []


def test_a_store_tells_itself_from_others(similar_store: SimilarStore) -> None:
    mine = similar_store.identity()
    assert mine
    assert mine != MemorySimilarStore().identity()
    similar_store.add(question("a"))
    similar_store.close()
    assert similar_store.identity() == mine


def test_nothing_is_damaged_where_nobody_damaged_it(similar_store: SimilarStore) -> None:
    for number in range(5):
        similar_store.add(question(str(number), labels=Labels("ü", "✓", "", (",", '"'))))
        similar_store.observe(observation(at=-0.0, score=1, weight=1e300))
    similar_store.remove(1)
    similar_store.add(question("3"))
    assert list(similar_store.faults()) == []
    assert len(similar_store.observations("s", 0)) == 5


def test_the_version_differs_after_each_own_write(similar_store: SimilarStore) -> None:
    writes: list[Callable[[], object]] = [
        lambda: similar_store.add(question("a")),
        lambda: similar_store.observe(observation()),
        lambda: similar_store.remove(1),
        lambda: similar_store.add(question("b")),
        lambda: similar_store.invalidate(Selection()),
    ]
    seen = similar_store.version()
    for write in writes:
        write()
        assert similar_store.version() != seen
        seen = similar_store.version()


def test_partitions_are_counted(similar_store: SimilarStore) -> None:
    assert similar_store.partitions() == {}
    for ask, partition in (("a", "x"), ("b", "y"), ("c", "x")):
        similar_store.add(question(ask, partition))
    assert similar_store.partitions() == {"x": 2, "y": 1}
    similar_store.invalidate(Selection())
    assert similar_store.partitions() == {}


def test_a_closed_store_opens_again_when_it_is_used(similar_store: SimilarStore) -> None:
    id_ = similar_store.add(question("a"))
    before = similar_store.version()
    similar_store.close()
    similar_store.close()
    assert live(tail(similar_store, "p")) == {id_: "a"}
    similar_store.add(question("b"))
    assert similar_store.version() != before


def test_threads_that_write_one_partition_lose_nothing(similar_store: SimilarStore) -> None:
    together = Barrier(8)

    def write(thread: int) -> set[int]:
        together.wait()
        return {similar_store.add(question(f"{thread} {number}")) for number in range(10)}

    with ThreadPoolExecutor(8) as pool:
        ids = set[int]().union(*pool.map(write, range(8)))
    found = tail(similar_store, "p", limit=7)
    assert live(found).keys() == ids
    assert len(found) == len(ids) == 80
