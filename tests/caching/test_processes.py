"""Processes: several of them open, read and write one cache at the same time."""

from pathlib import Path

from tests.caching.answers import entry_of, key_of
from tests.caching.forks import Forks
from tierflow.caching.disk_store import DiskStore

OPEN = """
begin()
store.put(key_of(me), entry_of(me))
assert store.get(key_of(me)) == entry_of(me)
"""
WRITE_AND_READ = """
begin()
for number in range(60):
    store.put(key_of(f"{me} {number}"), entry_of([me, number], me))
    mine = store.get(key_of(f"{me} {number}"))
    assert mine == entry_of([me, number], me), mine
    other = "ab"[me == "a"]
    theirs = store.get(key_of(f"{other} {number}"))
    assert theirs in (None, entry_of([other, number], other)), theirs
"""
LEASE = """
begin()
for number in range(60):
    if store.lease(key_of(str(number)), me, 60):
        assert store.get(key_of(str(number))) is None
        store.put(key_of(str(number)), entry_of(number, me))
"""


def test_two_processes_write_and_read_one_cache(tmp_path: Path, forks: Forks) -> None:
    assert forks.run(tmp_path / "cache", WRITE_AND_READ, "ab") == ["", ""]
    store = DiskStore(tmp_path / "cache", size_limit_mb=16)
    assert store.stats().steps == {"a": 60, "b": 60}
    assert store.get(key_of("b 59")) == entry_of(["b", 59], "b")
    assert list(store.faults()) == []
    store.close()


def test_of_all_processes_one_gets_each_lease(tmp_path: Path, forks: Forks) -> None:
    assert forks.run(tmp_path / "cache", LEASE, "abc") == [""] * 3
    store = DiskStore(tmp_path / "cache", size_limit_mb=16)
    assert store.stats().entries == 60
    assert not store.lease(key_of("0"), "another", 60)
    store.close()


def test_first_openings_at_once_do_not_hinder_each_other(tmp_path: Path, forks: Forks) -> None:
    assert forks.run(tmp_path / "cache", OPEN, "abcdefgh") == [""] * 8


def test_processes_that_find_a_damaged_cache_at_once_set_it_aside_once(
    tmp_path: Path, forks: Forks
) -> None:
    folder = tmp_path / "cache"
    before = DiskStore(folder, size_limit_mb=16)
    before.put(key_of("before"), entry_of(1))
    before.close()
    (folder / "cache.db").write_bytes(b"not a database at all" * 500)
    said = forks.run(folder, WRITE_AND_READ, "ab")
    assert "".join(said).count("is damaged") == 1
    assert len(list(folder.glob("cache.db.damaged-*[0-9]"))) == 1
    store = DiskStore(folder, size_limit_mb=16)
    store.put(key_of("after"), entry_of(1, "after"))
    assert store.stats().steps == {"a": 60, "after": 1, "b": 60}
    store.close()
