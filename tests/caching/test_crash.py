"""Crashes: processes that are killed, and disks that are full, cost the item in flight at most."""

import json
import os
import random
import signal
import subprocess
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.caching.answers import entry_of, key_of
from tests.caching.forks import Forks
from tierflow.caching.disk_store import DiskStore
from tierflow.caching.store import Entry, Selection
from tierflow.caching.transfer import export_entries
from tierflow.errors import StoreError

# Does one thing after the other for ever. A line in its journal says what it begins, another
# that it is done; the kernel keeps both when the process is killed.
MIXED_WORK = """
import json, os, random
from tierflow.caching.store import Selection

random = random.Random(me)
journal = os.open(store._database.folder.parent / f"{me}.journal", os.O_CREAT | os.O_WRONLY)
begin()
number = 0
while True:
    number += 1
    name = f"{me} {random.randrange(8)}"
    do = random.choice(["put", "put", "put long", "get", "remove", "invalidate", "lease"])
    os.write(journal, json.dumps([do, name, number]).encode() + b"\\n")
    match do:
        case "put" | "put long":
            text = [number, "x" * (50_000 if do == "put long" else 500)]
            store.put(key_of(name), entry_of(text, me, tags=(f"{me} {number % 2}",)))
        case "get":
            store.get(key_of(name))
        case "remove":
            store.remove(key_of(name))
        case "invalidate":
            store.invalidate(Selection(step=me, tag=f"{me} {number % 2}"))
        case "lease":
            assert store.lease(key_of(name), me, 60)
            store.release(key_of(name), me)
    os.write(journal, b"done\\n")
"""

State = dict[str, Entry]


def after(state: State, me: str, do: str, name: str, number: int) -> State:
    """What a worker's part of the store holds after one more deed."""
    tag = f"{me} {number % 2}"
    match do:
        case "put" | "put long":
            text = [number, "x" * (50_000 if do == "put long" else 500)]
            return state | {name: entry_of(text, me, tags=(tag,))}
        case "remove":
            return {each: entry for each, entry in state.items() if each != name}
        case "invalidate":
            return {each: entry for each, entry in state.items() if tag not in entry.labels.tags}
        case _:
            return state


def possible(journal: Path, me: str) -> tuple[State, State]:
    """What may be there: before, and after, the deed that was under way."""
    state: State = {}
    under_way: State = {}
    for line in journal.read_text().splitlines():
        if line == "done":
            state = under_way
        else:
            do, name, number = json.loads(line)
            under_way = after(state, me, do, name, number)
    return state, under_way


@pytest.mark.parametrize("seed", range(5))
def test_a_process_that_is_killed_loses_nothing_that_was_done(
    tmp_path: Path, forks: Forks, seed: int
) -> None:
    """40 of them are killed, at any moment, while three others go on writing."""
    chance = random.Random(seed)
    folder = tmp_path / "cache"
    names = [f"{seed}-{number}" for number in range(43)]
    working: dict[str, int] = {}
    store = DiskStore(folder, size_limit_mb=64)
    deeds = 0
    for number, name in enumerate(names):
        working |= dict(zip([name], forks.start(folder, MIXED_WORK, [name]), strict=True))
        if number >= 3:
            # The moment is what is tested.
            time.sleep(chance.uniform(0.0, 0.03))
            deeds += kill(chance.choice([*working]), working, tmp_path, forks, store)
    for name in [*working]:
        deeds += kill(name, working, tmp_path, forks, store)
    assert deeds > 100
    assert list(store.faults()) == []
    # A lease holds nobody up for long, and the next one may write.
    store.put(key_of("next"), entry_of("next"))
    assert store.get(key_of("next")) == entry_of("next")
    assert not list(folder.glob("*damaged*"))
    store.close()


def kill(name: str, working: dict[str, int], folder: Path, forks: Forks, store: DiskStore) -> int:
    """Kill a worker, and compare what it left. Return how many deeds it had begun."""
    pid = working.pop(name)
    os.kill(pid, signal.SIGKILL)
    assert forks.wait([pid]) == [-signal.SIGKILL]
    journal = folder / f"{name}.journal"
    keys = {each: key_of(each) for each in (f"{name} {number}" for number in range(8))}
    here = {each: entry for each in keys if (entry := store.get(keys[each]))}
    assert here in possible(journal, name)
    return len(journal.read_text().splitlines()) // 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk, and not in every container")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(store: DiskStore) -> dict[str, Entry]:
    """Put until the disk is full. Return what was kept."""
    kept: dict[str, Entry] = {}

    def put_another() -> None:
        entry = entry_of([len(kept), "x" * 20_000])
        store.put(key_of(str(len(kept))), entry)
        kept[str(len(kept))] = entry

    with pytest.raises(StoreError, match=r"cache cannot be used: .* full"):
        deque(iter(put_another, "never"))
    return kept


def test_a_full_disk_costs_what_did_not_fit_and_work_goes_on_when_there_is_room(
    small_disk: Path,
) -> None:
    ballast = small_disk / "ballast"
    # What SQLite has in its log comes into the database as well, so that it needs room twice.
    ballast.write_bytes(b"x" * 1_200_000)
    store = DiskStore(small_disk / "cache", size_limit_mb=64)
    kept = fill(store)
    assert len(kept) > 5
    for name, entry in kept.items():
        assert store.get(key_of(name)) == entry
    with pytest.raises(StoreError, match=r"answers\.jsonl"):
        export_entries(store, small_disk / "answers.jsonl")
    assert not [path for path in small_disk.iterdir() if "jsonl" in path.name]
    store.close()

    ballast.unlink()
    again = DiskStore(small_disk / "cache", size_limit_mb=64)
    assert list(again.faults()) == []
    for name, entry in kept.items():
        assert again.get(key_of(name)) == entry
    again.put(key_of("new"), entry_of("new"))
    assert again.get(key_of("new")) == entry_of("new")
    assert again.invalidate(Selection()) == len(kept) + 1
    again.close()


def test_a_cache_that_begins_on_a_full_disk_says_so_and_begins_when_there_is_room(
    small_disk: Path,
) -> None:
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as full, pytest.raises(OSError, match="No space"):
        deque(iter(lambda: full.write(b"x" * 4096), "never"))
    store = DiskStore(small_disk / "cache", size_limit_mb=64)
    with pytest.raises(StoreError, match="Free space") as caught:
        store.put(key_of("a"), entry_of("a"))
    assert str(small_disk / "cache") in str(caught.value)
    ballast.unlink()
    store.put(key_of("a"), entry_of("a"))
    assert store.get(key_of("a")) == entry_of("a")
    assert list(store.faults()) == []
    store.close()
