"""The exact store on disk: what it keeps, what it forgets, and what it never loads."""

import sqlite3
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import diskcache
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.caching.answers import key_of, stored
from tierflow.caching.disk_store import DiskStore
from tierflow.request import Stored, Usage

DAY_S = 24 * 3600.0
KEY = key_of("one")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "home" / "cache"


@pytest.fixture
def store(folder: Path) -> Iterator[DiskStore]:
    store = DiskStore(folder, size_limit_mb=16)
    yield store
    store.close()


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DiskStore]:
    store = DiskStore(tmp_path_factory.mktemp("cache"), size_limit_mb=16)
    yield store
    store.close()


@given(text=st.text(), cost_usd=st.none() | st.floats(0, 100))
def test_what_is_put_comes_back_as_it_was(
    shared_store: DiskStore, text: str, cost_usd: float | None
) -> None:
    answer = Stored(text, "fast", "d", "m", Usage(3, 2, 1, 0, 1, estimated=True), cost_usd)
    shared_store.put(KEY, answer, step="triage", ttl_s=DAY_S)
    assert shared_store.get(KEY) == answer


def test_an_unknown_key_has_no_answer(store: DiskStore) -> None:
    assert store.get(KEY) is None


def test_a_new_answer_takes_the_place_of_the_old_one(store: DiskStore) -> None:
    for value in ("old", "new"):
        store.put(KEY, stored(value), step="triage", ttl_s=DAY_S)
    assert store.get(KEY) == stored("new")
    assert store.stats().entries == 1


def test_an_answer_too_long_for_a_row_comes_back_too(store: DiskStore) -> None:
    answer = stored("é" * 200_000)
    store.put(KEY, answer, step="essay", ttl_s=DAY_S)
    assert store.get(KEY) == answer


def test_an_answer_outlives_its_store(store: DiskStore, folder: Path) -> None:
    store.put(KEY, stored(1), step="triage", ttl_s=DAY_S)
    store.close()
    again = DiskStore(folder, size_limit_mb=16)
    assert again.get(KEY) == stored(1)
    again.close()


def test_a_closed_store_opens_again_when_it_is_used(store: DiskStore) -> None:
    store.put(KEY, stored(1), step="triage", ttl_s=DAY_S)
    store.close()
    store.close()
    assert store.get(KEY) == stored(1)


def test_nothing_is_opened_before_first_use(store: DiskStore, folder: Path) -> None:
    assert not folder.exists()
    store.get(KEY)
    assert (folder / "cache.db").is_file()


def test_an_answer_is_gone_after_its_time(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_800_000_000.0
    monkeypatch.setattr("time.time", lambda: now)
    store.put(KEY, stored(1), step="triage", ttl_s=60)
    now += 59
    assert store.get(KEY) == stored(1)
    now += 2
    assert store.get(KEY) is None


def test_clear_by_step_leaves_the_other_steps(store: DiskStore) -> None:
    for step, names in {"triage": "ab", "reply": "c"}.items():
        for name in names:
            store.put(key_of(name), stored(name), step=step, ttl_s=DAY_S)
    assert store.clear("nobody") == 0
    assert store.clear("triage") == 2
    assert store.get(key_of("a")) is None
    assert store.get(key_of("c")) == stored("c")


def test_clear_without_a_step_removes_all_answers_and_their_files(
    store: DiskStore, folder: Path
) -> None:
    store.put(key_of("a"), stored("short"), step="triage", ttl_s=DAY_S)
    store.put(key_of("b"), stored("long" * 50_000), step="essay", ttl_s=DAY_S)
    assert list(folder.rglob("*.val"))
    assert store.clear() == 2
    assert store.stats().entries == 0
    assert not list(folder.rglob("*.val"))


def test_stats_count_the_answers_of_each_step(store: DiskStore, folder: Path) -> None:
    for step, name in (("triage", "a"), ("reply", "b"), ("triage", "c")):
        store.put(key_of(name), stored(name), step=step, ttl_s=DAY_S)
    found = store.stats()
    assert (found.path, found.entries) == (str(folder), 3)
    assert found.steps == {"reply": 1, "triage": 2}
    assert found.bytes > 0


def test_the_oldest_go_when_the_size_limit_is_passed(folder: Path) -> None:
    store = DiskStore(folder, size_limit_mb=1)
    long = "x" * 100_000
    for number in range(30):
        store.put(key_of(str(number)), stored(long), step="essay", ttl_s=DAY_S)
    assert store.get(key_of("29")) == stored(long)
    assert store.get(key_of("0")) is None
    assert store.stats().bytes < 2 * 1024 * 1024
    store.close()


def test_only_the_owner_may_enter_the_folder(store: DiskStore, folder: Path) -> None:
    store.get(KEY)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_was_open_to_others_is_closed_to_them(store: DiskStore, folder: Path) -> None:
    folder.mkdir(parents=True, mode=0o755)
    folder.chmod(0o755)
    store.get(KEY)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_many_threads_may_open_and_use_one_store(store: DiskStore) -> None:
    together = threading.Barrier(8)

    def work(number: int) -> Stored | None:
        together.wait()
        store.put(key_of(str(number)), stored(number), step="triage", ttl_s=DAY_S)
        return store.get(key_of(str((number + 1) % 8)))

    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(work, range(8)))
    assert all(each is None or each.text in map(str, range(8)) for each in seen)
    assert {store.get(key_of(str(number))) for number in range(8)} == {
        stored(number) for number in range(8)
    }


class Trap:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.fixture
def trap(tmp_path: Path) -> Trap:
    return Trap(tmp_path / "sprung")


def plant(folder: Path, key: Any, value: Any) -> None:
    """Write a row as any program with diskcache would."""
    folder.mkdir(parents=True, exist_ok=True)
    with cast(Any, diskcache).Cache(str(folder)) as plain:
        plain.set(key, value, tag="triage")


def test_the_trap_works(trap: Trap, folder: Path) -> None:
    plant(folder, KEY, trap)
    with cast(Any, diskcache).Cache(str(folder)) as plain:
        plain.get(KEY)
    assert trap.path.exists()


@pytest.mark.parametrize("padding", [0, 100_000], ids=["in the row", "in a file"])
def test_a_planted_pickle_is_never_loaded_as_a_value(
    store: DiskStore, folder: Path, trap: Trap, padding: int
) -> None:
    plant(folder, KEY, [trap, "x" * padding])
    assert store.get(KEY) is None
    assert not trap.path.exists()
    # The row is gone, so that the answer can be kept again.
    assert store.stats().entries == 0
    store.put(KEY, stored(1), step="triage", ttl_s=DAY_S)
    assert store.get(KEY) == stored(1)


def test_a_planted_pickle_is_never_loaded_as_a_key(
    store: DiskStore, folder: Path, trap: Trap
) -> None:
    plant(folder, (trap, KEY), "value")
    assert store.get(KEY) is None
    assert store.stats().steps == {"triage": 1}
    store.put(KEY, stored(1), step="triage", ttl_s=DAY_S)
    assert store.clear("triage") == 2
    assert not trap.path.exists()


def test_whoever_lists_the_keys_is_refused_a_planted_pickle(
    store: DiskStore, folder: Path, trap: Trap
) -> None:
    plant(folder, (trap, KEY), "value")
    store.get(KEY)
    inside: Any = store
    with pytest.raises(ValueError, match="a key that tierflow did not write"):
        list(inside._handle.cache)
    assert not trap.path.exists()


def test_clearing_does_not_load_a_planted_pickle(
    store: DiskStore, folder: Path, trap: Trap
) -> None:
    plant(folder, KEY, trap)
    plant(folder, (trap,), trap)
    assert store.clear() == 2
    assert not trap.path.exists()


@pytest.mark.parametrize("value", ["no JSON", '{"value": 1}', "[]", 7, 1.5, b"bytes", ""])
def test_a_row_that_is_no_answer_counts_as_none_and_goes(
    store: DiskStore, folder: Path, value: Any
) -> None:
    plant(folder, KEY, value)
    assert store.get(KEY) is None
    assert store.stats().entries == 0


def test_a_row_that_names_a_foreign_file_neither_reads_nor_removes_it(
    store: DiskStore, folder: Path, tmp_path: Path
) -> None:
    foreign = tmp_path / "foreign.val"
    foreign.write_text("mine")
    plant(folder, KEY, "x" * 100_000)
    with closing(sqlite3.connect(folder / "cache.db")) as plain:
        plain.execute("UPDATE Cache SET filename = ?", (str(foreign),))
        plain.commit()
    assert store.get(KEY) is None
    store.clear()
    assert foreign.read_text() == "mine"


def test_an_answer_whose_file_was_deleted_counts_as_none(store: DiskStore, folder: Path) -> None:
    store.put(KEY, stored("x" * 100_000), step="essay", ttl_s=DAY_S)
    for path in folder.rglob("*.val"):
        path.unlink()
    assert store.get(KEY) is None
