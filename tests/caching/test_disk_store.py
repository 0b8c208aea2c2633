"""The exact store on disk: its folder, its opening, and reads that are no writes."""

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.caching.answers import DAY_S, Clock, entry_of, key_of
from tierflow.caching.disk_store import DiskStore
from tierflow.caching.store import Selection
from tierflow.errors import StoreError

KEY = key_of("one")
HOUR_S = 3600.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "home" / "cache"


@pytest.fixture
def store(folder: Path, clock: Clock) -> Iterator[DiskStore]:
    store = DiskStore(folder, size_limit_mb=16, clock=clock)
    yield store
    store.close()


def test_an_answer_outlives_its_store(store: DiskStore, folder: Path, clock: Clock) -> None:
    store.put(KEY, entry_of(1))
    store.close()
    again = DiskStore(folder, size_limit_mb=16, clock=clock)
    assert again.get(KEY) == entry_of(1)
    again.close()


def test_a_closed_store_opens_again_when_it_is_used(store: DiskStore) -> None:
    store.put(KEY, entry_of(1))
    store.close()
    store.close()
    assert store.get(KEY) == entry_of(1)


def test_a_look_makes_no_folder_where_nothing_was_kept(store: DiskStore, folder: Path) -> None:
    assert store.get(KEY) is None
    assert not store.remove(KEY)
    assert store.invalidate(Selection()) == 0
    assert list(store.entries()) == []
    assert list(store.faults()) == []
    assert store.stats().entries == 0
    store.release(KEY, "ann")
    store.close()
    assert not folder.parent.exists()
    store.put(KEY, entry_of(1))
    assert (folder / "cache.db").is_file()


def test_only_the_owner_may_enter_the_folder(store: DiskStore, folder: Path) -> None:
    store.put(KEY, entry_of(1))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_was_open_to_others_is_closed_to_them(store: DiskStore, folder: Path) -> None:
    folder.mkdir(parents=True, mode=0o755)
    folder.chmod(0o755)
    store.put(KEY, entry_of(1))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_backup_programs_are_told_that_the_folder_is_a_cache(
    store: DiskStore, folder: Path
) -> None:
    store.put(KEY, entry_of(1))
    signature = "Signature: 8a477f597d28d172789f06886806bc55"
    assert (folder / "CACHEDIR.TAG").read_text().startswith(signature)


def test_all_answers_stand_in_the_database_however_long(store: DiskStore, folder: Path) -> None:
    store.put(KEY, entry_of("x" * 1_000_000))
    assert list(store.faults()) == []
    assert not list(folder.rglob("*.val"))


def test_what_was_invalidated_can_be_found_in_no_file(store: DiskStore, folder: Path) -> None:
    for number in range(20):
        store.put(key_of(str(number)), entry_of(f"a secret {number}", f"step {number % 2}"))

    def secrets() -> int:
        return sum(path.read_bytes().count(b"a secret") for path in folder.glob("cache.db*"))

    assert secrets() >= 20
    store.invalidate(Selection(step="step 1"))
    assert secrets() == 10
    store.invalidate(Selection())
    assert secrets() == 0


def test_text_that_is_no_unicode_is_not_kept_and_not_shown(store: DiskStore) -> None:
    with pytest.raises(StoreError, match="step 'triage' is not kept") as caught:
        store.put(KEY, entry_of("secret \ud83d"))
    assert "secret" not in str(caught.value)
    assert store.get(KEY) is None


def last_used(folder: Path) -> float:
    with closing(sqlite3.connect(folder / "cache.db")) as plain:
        ((at,),) = plain.execute("SELECT access_time FROM Cache").fetchall()
        return float(at)


@pytest.mark.parametrize(("ttl_s", "coarse_s"), [(7 * DAY_S, HOUR_S), (HOUR_S, HOUR_S / 10)])
def test_a_read_is_a_write_only_when_the_last_noted_use_is_long_ago(
    store: DiskStore, folder: Path, clock: Clock, ttl_s: float, coarse_s: float
) -> None:
    kept_at = clock.now
    store.put(KEY, entry_of(1, at=kept_at, ttl_s=ttl_s))
    clock.now = kept_at + coarse_s - 1
    assert store.get(KEY)
    assert last_used(folder) == kept_at
    clock.now = kept_at + coarse_s + 1
    assert store.get(KEY)
    assert last_used(folder) == clock.now


def test_a_read_waits_for_no_writer(store: DiskStore, folder: Path, clock: Clock) -> None:
    store.put(KEY, entry_of(1))
    kept_at = clock.now
    clock.now += DAY_S
    with closing(sqlite3.connect(folder / "cache.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert store.get(KEY) == entry_of(1)
        assert last_used(folder) == kept_at
        other.execute("ROLLBACK")
    assert store.get(KEY) == entry_of(1)
    assert last_used(folder) == clock.now


def test_the_expired_go_before_the_least_used(folder: Path, clock: Clock) -> None:
    store = DiskStore(folder, size_limit_mb=1, clock=clock)
    store.put(key_of("old"), entry_of("old"))
    for number in range(12):
        store.put(key_of(str(number)), entry_of("x" * 70_000, ttl_s=60))
    clock.now += 61
    for number in range(10):
        store.put(key_of(f"new {number}"), entry_of("x" * 70_000))
    assert store.get(key_of("old")) == entry_of("old")
    store.close()


def test_a_store_whose_folder_was_removed_under_it_begins_anew(
    store: DiskStore, folder: Path
) -> None:
    store.put(KEY, entry_of(1))
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    # Another thread would open the files again, so this one does.
    inside: Any = store
    inside._database._handle.cache.close()
    assert store.get(KEY) is None
    store.put(KEY, entry_of(2))
    assert store.get(KEY) == entry_of(2)
    assert (folder / "CACHEDIR.TAG").exists()
