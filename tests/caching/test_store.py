"""The contract of every answer store: what it keeps, finds, forgets and lends."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from tests.caching.answers import DAY_S, NOW, Clock, entry_of, key_of
from tierflow.caching import AnswerStore, Key
from tierflow.caching.disk_store import DiskStore
from tierflow.caching.memory_store import MemoryStore
from tierflow.caching.postgres_store import PostgresStore
from tierflow.caching.store import Entry, Failure, Labels, Selection
from tierflow.request import Stored, Usage

KEY = key_of("one")

texts = st.text(st.characters(exclude_categories=["Cs"]))
words = st.sampled_from(["", "a", "b", 'c"\\', "ü ✓"])
labels = st.builds(Labels, words, words, words, st.lists(words, max_size=3).map(tuple))
selections = st.builds(Selection, *[st.none() | words] * 4)
usages = st.builds(Usage, *[st.integers(0, 10**9)] * 5, st.booleans())
money = st.none() | st.floats(0, 100)
answers = st.builds(Stored, texts, texts, texts, texts, usages, money)
moments = st.floats(NOW, NOW + DAY_S)
entries = st.builds(
    Entry,
    answers | st.builds(Failure, texts, texts),
    labels,
    moments,
    moments,
    moments.map(lambda at: at + 2 * DAY_S),
)


@pytest.fixture(scope="module", params=["disk", "memory", "postgres"])
def shared_store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AnswerStore]:
    store: AnswerStore
    if request.param == "memory":
        store = MemoryStore(clock=Clock())
    elif request.param == "postgres":
        url = SecretStr(request.getfixturevalue("postgres_server").new_database())
        store = PostgresStore(url, size_limit_mb=16, clock=Clock())
    else:
        folder = tmp_path_factory.mktemp("cache")
        store = DiskStore(folder, size_limit_mb=16, clock=Clock())
    yield store
    store.close()


@given(entry=entries)
def test_what_is_put_comes_back_as_it_was(shared_store: AnswerStore, entry: Entry) -> None:
    shared_store.put(KEY, entry)
    assert shared_store.get(KEY) == entry
    assert dict(shared_store.entries())[KEY] == entry
    assert list(shared_store.faults()) == []


@given(kept=st.lists(labels, max_size=8), which=selections)
def test_invalidation_removes_what_fits_the_selection_and_nothing_else(
    shared_store: AnswerStore, kept: list[Labels], which: Selection
) -> None:
    shared_store.invalidate(Selection())
    filed = {key_of(str(number)): labels for number, labels in enumerate(kept)}
    for key, each in filed.items():
        shared_store.put(key, Entry(Failure("E", "m"), each, NOW, NOW, NOW + DAY_S))
    meant = {key for key, each in filed.items() if which.holds(each)}
    assert shared_store.invalidate(which) == len(meant)
    assert {key for key, _ in shared_store.entries()} == filed.keys() - meant
    assert shared_store.invalidate(which) == 0


def test_an_unknown_key_has_no_answer(answer_store: AnswerStore) -> None:
    assert answer_store.get(KEY) is None
    assert answer_store.remove(KEY) is False


def test_a_new_answer_takes_the_place_of_the_old_one(answer_store: AnswerStore) -> None:
    answer_store.put(KEY, entry_of("old", "before"))
    answer_store.put(KEY, entry_of("new", "after"))
    assert answer_store.get(KEY) == entry_of("new", "after")
    assert answer_store.stats().steps == {"after": 1}


def test_a_very_long_answer_comes_back_too(answer_store: AnswerStore) -> None:
    answer_store.put(KEY, entry_of("é" * 500_000))
    assert answer_store.get(KEY) == entry_of("é" * 500_000)


def test_an_entry_is_there_until_it_expires_fresh_or_stale(
    answer_store: AnswerStore, clock: Clock
) -> None:
    entry = entry_of(1, ttl_s=60)
    answer_store.put(KEY, entry)
    clock.now = entry.fresh_until + 1
    assert answer_store.get(KEY) == entry
    clock.now = entry.expires_at - 0.001
    assert answer_store.get(KEY) == entry
    clock.now = entry.expires_at
    assert answer_store.get(KEY) is None
    assert list(answer_store.entries()) == []
    assert answer_store.stats().entries == 0


def test_a_removed_entry_is_gone(answer_store: AnswerStore) -> None:
    answer_store.put(KEY, entry_of(1))
    assert answer_store.remove(KEY) is True
    assert answer_store.get(KEY) is None
    assert answer_store.remove(KEY) is False


def test_entries_come_oldest_first_whenever_they_were_put(answer_store: AnswerStore) -> None:
    ages: Sequence[int] = [5, 900, 1, 30, 200]
    for age in ages:
        answer_store.put(key_of(str(age)), entry_of(age, at=NOW - age))
    found = [entry.stored_at for _, entry in answer_store.entries()]
    assert found == sorted(found)
    assert len(found) == len(ages)


def test_entries_may_be_removed_while_they_are_listed(answer_store: AnswerStore) -> None:
    for number in range(450):
        answer_store.put(key_of(str(number)), entry_of(number))
    for key, _ in answer_store.entries():
        assert answer_store.remove(key)
    assert answer_store.stats().entries == 0


def test_stats_count_the_entries_of_each_step_and_the_failures(answer_store: AnswerStore) -> None:
    for step, name in (("triage", "a"), ("reply", "b"), ("triage", "c")):
        answer_store.put(key_of(name), entry_of(name, step))
    failure = Failure("RejectedError", "too long")
    answer_store.put(key_of("d"), entry_of(failure, "triage", tags=("failure", "true")))
    found = answer_store.stats()
    assert (found.entries, found.failures) == (4, 1)
    assert found.steps == {"reply": 1, "triage": 3}
    assert list(found.steps) == ["reply", "triage"]
    assert found.bytes > 0


def test_one_owner_at_a_time_holds_a_lease(answer_store: AnswerStore) -> None:
    assert answer_store.lease(KEY, "ann", 10)
    assert not answer_store.lease(KEY, "bob", 10)
    assert answer_store.lease(key_of("other"), "bob", 10)
    answer_store.release(KEY, "ann")
    assert answer_store.lease(KEY, "bob", 10)


def test_a_lease_ends_by_itself_unless_it_is_prolonged(
    answer_store: AnswerStore, clock: Clock
) -> None:
    assert answer_store.lease(KEY, "ann", 10)
    clock.now += 9
    assert answer_store.lease(KEY, "ann", 10)
    clock.now += 9
    assert not answer_store.lease(KEY, "bob", 10)
    clock.now += 1
    assert answer_store.lease(KEY, "bob", 10)
    assert not answer_store.lease(KEY, "ann", 10)


def test_nobody_gives_back_the_lease_of_another(answer_store: AnswerStore) -> None:
    answer_store.release(KEY, "ann")
    assert answer_store.lease(KEY, "ann", 10)
    answer_store.release(KEY, "bob")
    assert not answer_store.lease(KEY, "bob", 10)


def test_leases_are_no_entries(answer_store: AnswerStore) -> None:
    assert answer_store.lease(KEY, "ann", 10)
    assert answer_store.get(KEY) is None
    assert answer_store.stats().entries == 0
    assert list(answer_store.entries()) == []
    assert list(answer_store.faults()) == []
    assert answer_store.invalidate(Selection()) == 0
    answer_store.put(KEY, entry_of(1))
    assert not answer_store.lease(KEY, "bob", 10)


def test_of_many_threads_one_gets_the_lease(answer_store: AnswerStore) -> None:
    together = Barrier(8)

    def ask(owner: int) -> bool:
        together.wait()
        return answer_store.lease(KEY, str(owner), 10)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(8))) == 1


def test_many_threads_may_use_one_store(answer_store: AnswerStore) -> None:
    together = Barrier(8)
    keys = [key_of(str(number)) for number in range(8)]

    def work(number: int) -> Any:
        together.wait()
        answer_store.put(keys[number], entry_of(number))
        seen = answer_store.get(keys[(number + 1) % 8])
        return seen in (None, entry_of((number + 1) % 8))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    assert [answer_store.get(key) for key in keys] == [entry_of(number) for number in range(8)]


@pytest.mark.parametrize("kind", ["disk", "memory", "postgres"])
def test_what_was_not_used_for_long_goes_when_the_size_limit_is_passed(
    request: pytest.FixtureRequest, kind: str, tmp_path: Path, clock: Clock
) -> None:
    store: AnswerStore
    if kind == "disk":
        store = DiskStore(tmp_path, size_limit_mb=1, clock=clock)
    elif kind == "memory":
        store = MemoryStore(size_limit_mb=1, clock=clock)
    else:
        url = SecretStr(request.getfixturevalue("postgres_url"))
        store = PostgresStore(url, size_limit_mb=1, clock=clock)
    long = "x" * 50_000

    def keep(number: int) -> Key:
        key = key_of(str(number))
        store.put(key, entry_of((number, long)))
        clock.now += 7200
        return key

    used, *others = [keep(number) for number in range(15)]
    for number in range(15, 60):
        others.append(keep(number))
        assert store.get(used) is not None
    assert store.get(others[0]) is None
    assert store.get(others[-1]) is not None
    assert store.stats().bytes < 2 * 1024 * 1024
    store.close()


def test_the_number_of_entries_in_memory_has_a_limit_too(clock: Clock) -> None:
    store = MemoryStore(most_entries=3, clock=clock)
    for name in "abc":
        store.put(key_of(name), entry_of(name))
    store.get(key_of("a"))
    store.put(key_of("d"), entry_of("d"))
    assert [store.get(key_of(name)) is not None for name in "abcd"] == [True, False, True, True]
