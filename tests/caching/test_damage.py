"""Damage: a store that is broken, foreign or in the way costs its answers, never the work."""

import random
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.caching.answers import key_of, stored
from tierflow.caching.disk_store import DiskStore
from tierflow.errors import StoreError

DAY_S = 24 * 3600.0
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


def a_setting_that_nobody_knows(database: Path) -> None:
    # diskcache hands what it finds to its disk class.
    with closing(sqlite3.connect(database)) as plain:
        plain.execute("UPDATE Settings SET key = 'disk_mood' WHERE key = 'disk_min_file_size'")
        plain.commit()


every_damage = pytest.mark.parametrize(
    "damage",
    [
        garbage,
        truncated,
        header_lost,
        pages_lost,
        a_name_that_is_no_text,
        a_setting_that_nobody_knows,
    ],
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    fill(folder)
    return folder


def fill(folder: Path) -> None:
    store = DiskStore(folder, size_limit_mb=16)
    for number in range(50):
        store.put(key_of(str(number)), stored("x" * 200), step=f"step {number}", ttl_s=DAY_S)
    store.close()


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
        store.clear("step 1")
    store.put(KEY, stored(1), step="triage", ttl_s=DAY_S)
    assert store.get(KEY) == stored(1)
    (kept,) = folder.glob("cache.db.damaged-*")
    assert kept.read_bytes() == before
    (warning,) = warned
    assert str(folder / "cache.db") in str(warning.message)
    assert kept.name in str(warning.message)


def test_damage_under_an_open_store_is_set_aside_too(store: DiskStore, folder: Path) -> None:
    store.put(KEY, stored(1), step="triage", ttl_s=DAY_S)
    with closing(sqlite3.connect(folder / "cache.db")) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    garbage(folder / "cache.db")
    with pytest.warns(RuntimeWarning, match="is damaged"):
        store.put(KEY, stored(2), step="triage", ttl_s=DAY_S)
    assert store.get(KEY) == stored(2)


def test_threads_that_meet_damage_at_once_set_it_aside_once(folder: Path) -> None:
    pages_lost(folder / "cache.db")
    store = DiskStore(folder, size_limit_mb=16)
    together = Barrier(6)

    def work(number: int) -> None:
        together.wait()
        store.put(key_of(f"new {number}"), stored(number), step="triage", ttl_s=DAY_S)

    with pytest.warns(RuntimeWarning, match="is damaged"), ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert len(list(folder.glob("cache.db.damaged-*"))) == 1
    assert [store.get(key_of(f"new {number}")) for number in range(6)] == [
        stored(number) for number in range(6)
    ]
    store.close()


def test_a_store_that_another_process_replaced_is_opened_anew_and_not_set_aside_again(
    folder: Path,
) -> None:
    mine, others = (DiskStore(folder, size_limit_mb=16) for _ in range(2))
    mine.get(KEY)
    pages_lost(folder / "cache.db")
    with pytest.warns(RuntimeWarning, match="is damaged"):
        others.put(KEY, stored("theirs"), step="triage", ttl_s=DAY_S)
    assert mine.clear("triage") == 1
    assert len(list(folder.glob("cache.db.damaged-*"))) == 1
    mine.close()
    others.close()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_bits_never_raise_anything_but_a_store_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("flipped")
    fill(folder)
    database = folder / "cache.db"
    content = bytearray(database.read_bytes())
    for bit in data.draw(st.lists(st.integers(0, 8 * len(content) - 1), min_size=1, max_size=40)):
        content[bit // 8] ^= 1 << bit % 8
    database.write_bytes(content)

    store = DiskStore(folder, size_limit_mb=16)
    uses: list[Callable[[], object]] = [
        lambda: store.get(key_of("3")),
        lambda: store.put(KEY, stored(1), step="triage", ttl_s=DAY_S),
        lambda: store.get(KEY),
        store.stats,
        store.clear,
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for use in uses:
            with suppress(StoreError):
                use()
    store.close()


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
        lambda: store.put(KEY, stored(1), step="triage", ttl_s=DAY_S),
        store.stats,
        store.clear,
    ):
        with pytest.raises(StoreError, match="TIERFLOW_CACHE__ENABLED=false") as caught:
            use()
        assert str(folder) in str(caught.value)
    store.close()


def test_a_foreign_database_is_left_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    a_foreign_database(folder)
    store = DiskStore(folder, size_limit_mb=16)
    with pytest.raises(StoreError):
        store.put(KEY, stored(1), step="triage", ttl_s=DAY_S)
    store.close()
    assert not list(folder.glob("*damaged*"))
    with closing(sqlite3.connect(folder / "cache.db")) as foreign:
        columns = [row[1] for row in foreign.execute("PRAGMA table_info(Cache)")]
    assert columns == ["weight"]


def test_a_locked_cache_is_not_taken_for_a_damaged_one(store: DiskStore, folder: Path) -> None:
    store.get(KEY)
    # diskcache would wait a minute for the lock.
    inside: Any = store
    inside._handle.cache.close()
    inside._handle.cache._timeout = 0.0
    with closing(sqlite3.connect(folder / "cache.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="cannot be used"):
            store.put(KEY, stored(1), step="triage", ttl_s=DAY_S)
        other.rollback()
    assert not list(folder.glob("*damaged*"))
    store.put(KEY, stored(1), step="triage", ttl_s=DAY_S)
