"""Damage: a store that is broken, foreign or in the way costs its answers, never the work."""

import random
import shutil
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Barrier
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.caching.answers import entry_of, key_of
from tierflow.caching.disk_store import DiskStore
from tierflow.caching.store import Selection
from tierflow.errors import StoreError

KEY = key_of("one")
PAGE = 4096
Damage = Callable[[Path], None]


def garbage(database: Path) -> None:
    database.write_bytes(random.Random(1).randbytes(3 * PAGE))


def truncated(database: Path) -> None:
    database.write_bytes(database.read_bytes()[: 2 * PAGE + 100])


def header_lost(database: Path) -> None:
    database.write_bytes(b"\0" * 100 + database.read_bytes()[100:])


def pages_lost(database: Path) -> None:
    content = database.read_bytes()
    database.write_bytes(content[:PAGE] + b"\xff" * (len(content) - PAGE))


def a_name_that_is_no_text(database: Path) -> None:
    database.write_bytes(database.read_bytes().replace(b"Settings", b"Setting\xf3", 1))


every_damage = pytest.mark.parametrize(
    "damage",
    [
        garbage,
        truncated,
        header_lost,
        pages_lost,
        a_name_that_is_no_text,
    ],
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    fill(folder).close()
    return folder


FILLED = [entry_of([number, "x" * 300], f"step {number % 3}") for number in range(40)]


def fill(folder: Path) -> DiskStore:
    store = DiskStore(folder, size_limit_mb=16)
    for number, entry in enumerate(FILLED):
        store.put(key_of(str(number)), entry)
    return store


@pytest.fixture
def store(folder: Path) -> Iterator[DiskStore]:
    store = DiskStore(folder, size_limit_mb=16)
    yield store
    store.close()


@every_damage
def test_a_damaged_cache_is_set_aside_with_a_warning_and_work_goes_on(
    store: DiskStore, folder: Path, damage: Damage
) -> None:
    damage(folder / "cache.db")
    before = (folder / "cache.db").read_bytes()
    with pytest.warns(RuntimeWarning, match="is damaged") as warned:
        store.invalidate(Selection(step="step 1"))
    store.put(KEY, entry_of(1))
    assert store.get(KEY) == entry_of(1)
    (kept,) = folder.glob("cache.db.damaged-*[0-9]")
    assert kept.read_bytes() == before
    (warning,) = warned
    assert str(folder / "cache.db") in str(warning.message)
    assert kept.name in str(warning.message)


def test_damage_under_an_open_store_is_set_aside_too(store: DiskStore, folder: Path) -> None:
    store.put(KEY, entry_of(1))
    with closing(sqlite3.connect(folder / "cache.db")) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    garbage(folder / "cache.db")
    with pytest.warns(RuntimeWarning, match="is damaged"):
        store.put(KEY, entry_of(2))
    assert store.get(KEY) == entry_of(2)


def test_threads_that_meet_damage_at_once_set_it_aside_once(folder: Path) -> None:
    pages_lost(folder / "cache.db")
    store = DiskStore(folder, size_limit_mb=16)
    together = Barrier(6)

    def work(number: int) -> None:
        together.wait()
        store.put(key_of(f"new {number}"), entry_of(number))

    with pytest.warns(RuntimeWarning, match="is damaged"), ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert len(list(folder.glob("cache.db.damaged-*[0-9]"))) == 1
    assert [store.get(key_of(f"new {number}")) for number in range(6)] == [
        entry_of(number) for number in range(6)
    ]
    store.close()


def test_a_store_that_another_process_replaced_is_opened_anew_and_not_set_aside_again(
    folder: Path,
) -> None:
    mine, others = (DiskStore(folder, size_limit_mb=16) for _ in range(2))
    mine.get(KEY)
    pages_lost(folder / "cache.db")
    with pytest.warns(RuntimeWarning, match="is damaged"):
        others.put(KEY, entry_of("theirs"))
    assert mine.invalidate(Selection(step="triage")) == 1
    assert len(list(folder.glob("cache.db.damaged-*[0-9]"))) == 1
    mine.close()
    others.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A cache as a process leaves it that ends, and one as it is left by one that is killed."""
    folder = tmp_path_factory.mktemp("whole")
    store = fill(folder / "open")
    shutil.copytree(folder / "open", folder / "killed")
    store.close()
    return {"ended": folder / "open", "killed": folder / "killed"}


positions = st.integers(0, 2**20)
wounds = st.one_of(
    st.tuples(st.just("flip"), positions, st.integers(0, 7)),
    # What SQLite itself lives by stands at the beginning.
    st.tuples(st.just("flip"), st.integers(0, 200), st.integers(0, 7)),
    st.tuples(st.just("cut"), positions, st.just(0)),
    st.tuples(st.just("blank"), positions, st.integers(1, 4096)),
)
files = st.sampled_from(["cache.db", "cache.db", "cache.db-wal", "cache.db-shm"])


def wound(path: Path, kind: str, at: int, size: int) -> None:
    content = bytearray(path.read_bytes())
    at %= max(1, len(content))
    match kind:
        case "flip" if content:
            content[at] ^= 1 << size
        case "cut":
            del content[at:]
        case "blank":
            content[at : at + size] = bytes(len(content[at : at + size]))
        case _:
            pass
    path.write_bytes(content)


@settings(max_examples=100)
@given(
    left=st.sampled_from(["ended", "killed"]),
    hurt=st.lists(st.tuples(files, wounds), min_size=1, max_size=12),
)
def test_however_the_files_are_damaged_the_next_start_works_and_serves_nothing_wrong(
    whole: dict[str, Path], left: str, hurt: list[tuple[str, tuple[str, int, int]]]
) -> None:
    with TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        folder = Path(place) / "cache"
        shutil.copytree(whole[left], folder)
        for name, (kind, at, size) in hurt:
            if (folder / name).exists():
                wound(folder / name, kind, at, size)
        store = DiskStore(folder, size_limit_mb=16)
        for number, entry in enumerate(FILLED):
            assert store.get(key_of(str(number))) in (None, entry)
        store.put(KEY, entry_of("new"))
        assert store.get(KEY) == entry_of("new")
        assert all(entry in (*FILLED, entry_of("new")) for _, entry in store.entries())
        list(store.faults())
        store.stats()
        assert store.lease(KEY, "ann", 60)
        store.invalidate(Selection(step="step 1"))
        for number, entry in enumerate(FILLED):
            if entry.labels.step == "step 1":
                assert store.get(key_of(str(number))) is None
        store.close()


def test_a_database_that_is_cut_short_under_an_open_store_does_not_end_the_process(
    store: DiskStore, folder: Path
) -> None:
    assert store.get(key_of("3")) == FILLED[3]
    store.close()
    assert store.get(key_of("3")) == FILLED[3]
    with (folder / "cache.db").open("r+b") as database:
        database.truncate(PAGE)
    with pytest.warns(RuntimeWarning, match="is damaged"):
        assert store.invalidate(Selection(step="step 1")) == 0
    store.put(KEY, entry_of(1))
    assert store.get(KEY) == entry_of(1)


def a_file_in_place_of_the_folder(folder: Path) -> None:
    folder.write_text("not a folder")


def a_folder_in_place_of_the_database(folder: Path) -> None:
    (folder / "cache.db").mkdir(parents=True)


def a_foreign_database(folder: Path) -> None:
    folder.mkdir()
    with closing(sqlite3.connect(folder / "cache.db")) as foreign:
        foreign.execute("CREATE TABLE Settings (colour TEXT)")
        foreign.execute("CREATE TABLE Cache (weight REAL)")
        foreign.commit()


@pytest.mark.parametrize(
    "obstacle",
    [
        a_file_in_place_of_the_folder,
        a_folder_in_place_of_the_database,
        a_foreign_database,
    ],
)
def test_a_cache_that_cannot_be_used_says_what_to_do(tmp_path: Path, obstacle: Damage) -> None:
    folder = tmp_path / "cache"
    obstacle(folder)
    store = DiskStore(folder, size_limit_mb=16)
    for use in (
        lambda: store.get(KEY),
        lambda: store.put(KEY, entry_of(1)),
        store.stats,
        lambda: store.invalidate(Selection()),
    ):
        with pytest.raises(StoreError, match="TIERFLOW_CACHE__MODE=off") as caught:
            use()
        assert str(folder) in str(caught.value)
    store.close()


def test_a_foreign_database_is_left_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    a_foreign_database(folder)
    store = DiskStore(folder, size_limit_mb=16)
    with pytest.raises(StoreError):
        store.put(KEY, entry_of(1))
    store.close()
    assert not list(folder.glob("*damaged*"))
    with closing(sqlite3.connect(folder / "cache.db")) as foreign:
        columns = [row[1] for row in foreign.execute("PRAGMA table_info(Cache)")]
    assert columns == ["weight"]


def test_a_locked_cache_is_not_taken_for_a_damaged_one(store: DiskStore, folder: Path) -> None:
    store.get(KEY)
    # It would wait ten seconds for the lock.
    inside: Any = store
    inside._database._handle.cache.sql("PRAGMA busy_timeout = 0")
    with closing(sqlite3.connect(folder / "cache.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="cannot be used"):
            store.put(KEY, entry_of(1))
        other.rollback()
    assert not list(folder.glob("*damaged*"))
    store.put(KEY, entry_of(1))
