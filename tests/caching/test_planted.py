"""Planted rows, settings and files: nothing that tierflow did not write is loaded or obeyed."""

import pickle
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import diskcache
import pytest

from tests.caching.answers import Clock, entry_of, key_of
from tierflow.caching.disk_store import DiskStore
from tierflow.caching.store import Selection

KEY = key_of("one")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def store(folder: Path, clock: Clock) -> Iterator[DiskStore]:
    store = DiskStore(folder, size_limit_mb=16, clock=clock)
    yield store
    store.close()


class Trap:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.fixture
def trap(tmp_path: Path) -> Trap:
    return Trap(tmp_path / "sprung")


def plant(folder: Path, key: Any, value: Any, tag: Any = "triage") -> None:
    """Write a row as any program with diskcache would."""
    folder.mkdir(parents=True, exist_ok=True)
    with cast(Any, diskcache).Cache(str(folder)) as plain:
        plain.set(key, value, tag=tag)


def execute(folder: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(folder / "cache.db")) as plain:
        plain.execute(statement, values)
        plain.commit()


def use(store: DiskStore) -> None:
    """Do all that a store can do, and find it as good as empty."""
    assert store.get(KEY) is None
    assert list(store.entries()) == []
    list(store.faults())
    assert store.stats().steps == {}
    store.put(KEY, entry_of(1))
    assert store.get(KEY) == entry_of(1)
    assert store.remove(KEY)
    store.invalidate(Selection(step="triage"))
    store.invalidate(Selection())
    assert not [line for line in store.faults() if "key" in line]


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
    (line,) = list(store.faults())[:1]
    assert "it is never loaded" in line
    use(store)
    assert not trap.path.exists()


def test_a_planted_pickle_is_never_loaded_as_a_key(
    store: DiskStore, folder: Path, trap: Trap
) -> None:
    plant(folder, (trap, KEY), "value")
    assert any("a key that tierflow did not write" in line for line in store.faults())
    use(store)
    assert not trap.path.exists()


def test_a_planted_pickle_is_never_loaded_as_labels(
    store: DiskStore, folder: Path, trap: Trap
) -> None:
    plant(folder, KEY, "value", tag=pickle.dumps(trap))
    use(store)
    assert not trap.path.exists()


def test_a_pickle_in_the_place_of_an_answer_is_not_loaded(
    store: DiskStore, folder: Path, trap: Trap
) -> None:
    store.put(KEY, entry_of(1))
    execute(folder, "UPDATE Cache SET mode = 4, value = ?", pickle.dumps(trap))
    use(store)
    assert not trap.path.exists()


def test_a_planted_file_is_never_opened(store: DiskStore, folder: Path, trap: Trap) -> None:
    store.put(KEY, entry_of(1))
    file = folder / "ab" / "cd" / f"{'0' * 28}.val"
    file.parent.mkdir(parents=True)
    file.write_bytes(pickle.dumps(trap))
    name = str(file.relative_to(folder))
    execute(folder, "UPDATE Cache SET mode = 4, filename = ?, value = NULL", name)
    lines = list(store.faults())
    assert any(KEY in line and name in line for line in lines)
    assert any(line.startswith(str(file)) for line in lines)
    assert store.get(KEY) is None
    assert list(store.entries()) == []
    assert not trap.path.exists()


@pytest.mark.parametrize("method", ["get", "pop", "peekitem", "__iter__", "set"])
def test_whoever_goes_through_diskcache_itself_is_refused(
    store: DiskStore, folder: Path, trap: Trap, method: str
) -> None:
    store.put(KEY, entry_of(1))
    plant(folder, trap, trap)
    inside: Any = store
    cache = inside._database._handle.cache
    arguments = {"get": (KEY,), "pop": (KEY,), "set": (KEY, trap)}.get(method, ())
    with pytest.raises(TypeError, match="do not go through diskcache"):
        list(getattr(cache, method)(*arguments))
    assert not trap.path.exists()


def test_invalidating_does_not_load_a_planted_pickle(
    store: DiskStore, folder: Path, trap: Trap
) -> None:
    plant(folder, KEY, trap)
    plant(folder, (trap,), trap)
    assert store.invalidate(Selection(step="triage")) == 0
    assert store.invalidate(Selection()) == 2
    assert not trap.path.exists()


@pytest.mark.parametrize("value", ["no JSON", '{"value": 1}', "[]", 7, 1.5, b"bytes", "", None])
def test_a_row_that_is_no_answer_counts_as_none_and_goes(
    store: DiskStore, folder: Path, value: Any
) -> None:
    plant(folder, KEY, value)
    assert len(list(store.faults())) == 1
    assert store.get(KEY) is None
    assert list(store.faults()) == []


def test_a_row_that_names_a_foreign_file_neither_reads_nor_removes_it(
    store: DiskStore, folder: Path, tmp_path: Path
) -> None:
    foreign = tmp_path / "foreign.val"
    foreign.write_text("mine")
    plant(folder, KEY, "x" * 100_000)
    execute(folder, "UPDATE Cache SET filename = ?", str(foreign))
    assert store.get(KEY) is None
    store.invalidate(Selection())
    assert foreign.read_text() == "mine"


def test_the_long_answers_of_older_versions_go_with_their_files(
    store: DiskStore, folder: Path
) -> None:
    plant(folder, KEY, "x" * 100_000)
    assert list(folder.rglob("*.val"))
    store.invalidate(Selection())
    assert not list(folder.rglob("*.val"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("disk_pickle_protocol", "9"),
        ("disk_directory", "/"),
        ("_directory", "/nowhere"),
        ("_sql", "no function"),
        ("_con", 7),
        ("volume", 7),
        ("sqlite_writable_schema", 1),
        ("size_limit", 0),
        ("size_limit", "many"),
        ("cull_limit", 10**9),
        ("eviction_policy", "none of diskcache's"),
        ("size", 2**50),
        ("size", "much"),
        ("count", None),
        ("statistics", 1),
        (b"\xff\xfe", b"\xff"),
        (7, 7),
    ],
)
def test_a_planted_setting_is_not_obeyed(
    store: DiskStore, folder: Path, name: object, value: object, clock: Clock
) -> None:
    for number in range(5):
        store.put(key_of(str(number)), entry_of(number))
    store.close()
    execute(folder, "INSERT OR REPLACE INTO Settings VALUES (?, ?)", name, value)
    again = DiskStore(folder, size_limit_mb=16, clock=clock)
    again.put(KEY, entry_of("new"))
    assert again.get(KEY) == entry_of("new")
    # Nothing was lost over it, either.
    assert [again.get(key_of(str(number))) for number in range(5)] == [*map(entry_of, range(5))]
    assert not list(folder.glob("*damaged*"))
    again.close()
