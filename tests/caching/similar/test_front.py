"""A front knows of its partition what the store knows, however it began."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.caching.similar.clouds import DIMS, Vectors, cloud
from tests.caching.similar.questions import question
from tierflow.caching.similar import front as module
from tierflow.caching.similar.front import Front
from tierflow.caching.similar.index import PartitionIndex
from tierflow.caching.similar.memory_store import MemorySimilarStore
from tierflow.caching.similar.store import SimilarStore

VECTORS = cloud(80)


def add(store: SimilarStore, numbers: range, partition: str = "p", of: int = 0) -> list[int]:
    return [
        store.add(question(f"question {number}", partition, vector=VECTORS[number + of]))
        for number in numbers
    ]


def open_front(store: SimilarStore, folder: Path | None = None, fingerprint: str = "mini") -> Front:
    front = Front(store, "p", DIMS, fingerprint=fingerprint, folder=folder)
    front.catch_up()
    return front


def knows(front: Front) -> list[tuple[str, float]]:
    """The nearest to some vectors, as it would tell them."""
    return [
        (each.ask, round(each.similarity, 3))
        for asked in VECTORS[:10]
        for each in front.near(asked)
    ]


@pytest.fixture(autouse=True)
def _small_indexes_are_saved_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAVED_FROM", 1)


@pytest.fixture
def caplog_at_warning(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.WARNING):
        yield caplog


def test_a_front_finds_what_was_added_and_not_what_was_removed() -> None:
    store = MemorySimilarStore()
    front = open_front(store)
    assert front.near(VECTORS[0]) == []
    ids = add(store, range(40))
    add(store, range(40, 50), "another")
    front.catch_up()
    assert len(front) == 40
    (first, *_) = front.near(VECTORS[7])
    assert (first.id, first.ask) == (ids[7], "question 7")
    assert front[ids[7]].value == first.value

    store.remove(ids[7])
    front.catch_up()

    assert len(front) == 39
    assert ids[7] not in [each.id for each in front.near(VECTORS[7])]


@given(
    steps=st.lists(
        st.one_of(st.just("add"), st.just("look"), st.integers(0, 20).map(str)), max_size=30
    )
)
def test_whoever_looks_now_and_then_knows_what_who_looks_last_does(steps: list[str]) -> None:
    store = MemorySimilarStore()
    front, ids = open_front(store), list[int]()
    for step in steps:
        if step == "look":
            front.catch_up()
        elif step == "add":
            ids += add(store, range(len(ids), len(ids) + 1))
        elif int(step) < len(ids):
            store.remove(ids[int(step)])
    front.catch_up()
    late = open_front(store)
    assert len(front) == len(late)
    assert sorted(knows(front)) == sorted(knows(late))


def test_pages_do_not_matter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store = MemorySimilarStore()
    for id_ in add(store, range(50))[::6]:
        store.remove(id_)
    whole = open_front(store, tmp_path)
    whole.close()
    monkeypatch.setattr(module, "_PAGE", 3)
    assert knows(open_front(store)) == knows(open_front(store, tmp_path)) == knows(whole)


# --- the saved index


def test_a_saved_index_is_used_and_caught_up_with_what_came_since(
    similar_store: SimilarStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = add(similar_store, range(30))
    similar_store.remove(ids[0])
    open_front(similar_store, tmp_path).close()
    similar_store.remove(ids[1])
    add(similar_store, range(30, 40))
    expected = open_front(similar_store)
    added: list[int] = []
    add_many = PartitionIndex.add_many

    def counting(self: PartitionIndex, ids: Sequence[int], vectors: Vectors) -> None:
        added.append(len(ids))
        add_many(self, ids, vectors)

    monkeypatch.setattr(PartitionIndex, "add_many", counting)

    front = open_front(similar_store, tmp_path)

    assert added == [10]
    assert len(front) == 38
    assert knows(front) == knows(expected)
    for each in front.near(VECTORS[3]):
        assert front.centred(VECTORS[3], [each]) == pytest.approx(
            expected.centred(VECTORS[3], [each]), abs=1e-5
        )


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "changed", "of another encoder"])
def test_an_index_that_is_gone_or_damaged_is_built_anew(tmp_path: Path, damage: str) -> None:
    store = MemorySimilarStore()
    add(store, range(30))
    front = open_front(store, tmp_path)
    front.close()
    path = tmp_path / "p.index"
    data = path.read_bytes()
    match damage:
        case "gone":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "cut":
            path.write_bytes(data[: len(data) // 2])
        case "changed":
            path.write_bytes(data[:-400] + bytes([data[-400] ^ 1]) + data[-399:])
        case _:
            pass
    again = open_front(store, tmp_path, "other" if damage == "of another encoder" else "mini")
    assert knows(again) == knows(front)
    again.close()
    assert path.exists()


@pytest.fixture
def one_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """All stores say that they are the same one, as a store and a copy of its file do."""

    def identity(_: MemorySimilarStore) -> str:
        return "one"

    monkeypatch.setattr(MemorySimilarStore, "identity", identity)


@pytest.mark.parametrize("kept", [10, 30, 50])
@pytest.mark.parametrize("copied", [True, False])
@pytest.mark.usefixtures("caplog_at_warning")
def test_the_index_of_another_store_is_not_taken_for_ours(
    tmp_path: Path,
    kept: int,
    copied: bool,
    caplog: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
) -> None:
    """The store was deleted, or another one is used: the same ids are other questions."""
    if copied:
        request.getfixturevalue("one_identity")
    old = MemorySimilarStore()
    add(old, range(30))
    open_front(old, tmp_path).close()
    new = MemorySimilarStore()
    add(new, range(kept), of=30)

    front = open_front(new, tmp_path)

    assert "is built anew" in caplog.text
    assert len(front) == kept
    assert knows(front) == knows(open_front(new))
    assert [front.near(VECTORS[30 + each])[0].ask for each in range(kept)] == [
        f"question {each}" for each in range(kept)
    ]


@pytest.mark.parametrize("since", [1, 3, 20])
@pytest.mark.usefixtures("one_identity")
def test_an_index_from_after_the_copy_that_the_store_was_put_back_from_is_not_used(
    tmp_path: Path, since: int
) -> None:
    store, copy = MemorySimilarStore(), MemorySimilarStore()
    for each in (store, copy):
        add(each, range(30))
    add(store, range(30, 30 + since))
    open_front(store, tmp_path).close()
    # Other questions get the ids that the index knows.
    add(copy, range(30, 30 + since), of=20)

    assert knows(open_front(copy, tmp_path)) == knows(open_front(copy))


@pytest.mark.usefixtures("one_identity")
def test_the_same_questions_in_another_order_are_another_store(tmp_path: Path) -> None:
    store, other = MemorySimilarStore(), MemorySimilarStore()
    add(store, range(30))
    for number in reversed(range(30)):
        add(other, range(number, number + 1))
    open_front(store, tmp_path).close()
    assert knows(open_front(other, tmp_path)) == knows(open_front(other))


def test_the_index_is_saved_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SAVE_EVERY", 20)
    store, path = MemorySimilarStore(), tmp_path / "p.index"
    front = open_front(store, tmp_path)
    add(store, range(19))
    front.catch_up()
    assert not path.exists()
    add(store, range(19, 20))
    front.catch_up()
    assert path.exists()


def test_a_small_index_is_not_worth_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAVED_FROM", 10)
    store = MemorySimilarStore()
    add(store, range(9))
    open_front(store, tmp_path).close()
    assert list(tmp_path.iterdir()) == []
    add(store, range(9, 10))
    open_front(store, tmp_path).close()
    assert [path.name for path in tmp_path.iterdir()] == ["p.index"]


def test_a_front_of_nothing_leaves_no_file(tmp_path: Path) -> None:
    open_front(MemorySimilarStore(), tmp_path).close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_costs_a_warning_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    store = MemorySimilarStore()
    add(store, range(5))
    front = open_front(store, tmp_path / "file")
    front.close()
    assert "not saved" in caplog.text
    assert len(front.near(VECTORS[0])) == 5
