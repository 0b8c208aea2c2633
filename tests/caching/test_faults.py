"""Faults: a check of everything names each thing that is damaged or foreign, and mends none."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from tests.caching.answers import Clock, entry_of, key_of
from tierflow.caching.disk_store import DiskStore
from tierflow.sealing import Seal

KEYS = [key_of(str(number)) for number in range(450)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def store(folder: Path, clock: Clock) -> Iterator[DiskStore]:
    store = DiskStore(folder, size_limit_mb=16, clock=clock)
    for number, key in enumerate(KEYS):
        store.put(key, entry_of(number, f"step {number % 2}"))
    yield store
    store.close()


def execute(folder: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(folder / "cache.db")) as plain:
        plain.execute(statement, values)
        plain.commit()


def test_a_sound_store_has_no_faults_opened_or_closed(store: DiskStore) -> None:
    assert list(store.faults()) == []
    store.close()
    assert list(store.faults()) == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("value = 'a secret'", "no entry that tierflow wrote"),
        ("value = replace(value, 'openai', 'opened')", "its checksum does not fit"),
        ("value = (SELECT value FROM Cache WHERE rowid = 1)", "its checksum does not fit"),
        ("value = NULL", "no entry that tierflow wrote"),
        ("tag = (SELECT tag FROM Cache WHERE rowid = 1)", "its labels are not those"),
        ("tag = NULL", "its labels are not those"),
        ("expire_time = expire_time + 1", "its column expire_time"),
        ("mode = 4", "of mode 4 that tierflow did not write"),
        ("filename = '/etc/passwd'", "in the file /etc/passwd"),
    ],
)
def test_a_damaged_row_is_named_with_its_file_and_key_and_quoted_nowhere(
    store: DiskStore, folder: Path, change: str, why: str
) -> None:
    execute(folder, f"UPDATE Cache SET {change} WHERE key = ?", KEYS[301])
    (line,) = store.faults()
    assert line.startswith(f"{folder / 'cache.db'}: key {KEYS[301]}: ")
    assert why in line
    assert "secret" not in line
    # To look is not to mend.
    assert list(store.faults()) == [line]


def test_a_foreign_key_is_shown_without_what_a_terminal_would_obey(
    store: DiskStore, folder: Path
) -> None:
    execute(folder, "UPDATE Cache SET key = ? WHERE key = ?", "\x1b[2J", KEYS[7])
    execute(folder, "UPDATE Cache SET key = ? WHERE key = ?", b"\xff\xfe", KEYS[8])
    lines = list(store.faults())
    assert len(lines) == 2
    assert r"key \x1b[2J: its checksum" in lines[0]
    assert r"key \ufffd\ufffd: a key that is no text" in lines[1]


def test_sqlite_checks_its_own_structure(store: DiskStore, folder: Path) -> None:
    with closing(sqlite3.connect(folder / "cache.db", isolation_level=None)) as plain:
        plain.execute("PRAGMA writable_schema = 1")
        plain.execute("DELETE FROM sqlite_master WHERE name = 'Cache_expire_time'")
    store.close()
    lines = list(store.faults())
    assert lines
    assert all(line.startswith(f"{folder / 'cache.db'}: ") for line in lines)


def test_files_that_do_not_belong_there_are_named(store: DiskStore, folder: Path) -> None:
    foreign = [folder / "ab" / "cd" / f"{'0' * 28}.val", folder / "notes.txt"]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a secret")
    lines = list(store.faults())
    assert [line.split(": ")[0] for line in lines] == [str(path) for path in foreign]
    assert all(path.exists() for path in foreign)


def test_a_database_that_was_set_aside_is_named_until_it_is_deleted(
    store: DiskStore, folder: Path
) -> None:
    store.close()
    (folder / "cache.db").write_bytes(b"no database" * 1000)
    with pytest.warns(RuntimeWarning, match="is damaged"):
        (line,) = store.faults()
    assert "was damaged and set aside" in line
    for path in folder.glob("*damaged*"):
        path.unlink()
    assert list(store.faults()) == []


def test_what_is_sealed_with_other_keys_is_named_and_stays(folder: Path, clock: Clock) -> None:
    mine, other = (Seal([Fernet.generate_key().decode()]) for _ in range(2))
    writer = DiskStore(folder, size_limit_mb=16, seal=mine, clock=clock)
    writer.put(KEYS[0], entry_of("a secret"))
    writer.close()
    for seal, why in ((other, "a key that is not in"), (None, "encryption_keys is not set")):
        reader = DiskStore(folder, size_limit_mb=16, seal=seal, clock=clock)
        assert reader.get(KEYS[0]) is None
        assert list(reader.entries()) == []
        (line,) = reader.faults()
        assert KEYS[0] in line
        assert why in line
        reader.close()
    assert writer.get(KEYS[0]) == entry_of("a secret")
    assert b"secret" not in b"".join(path.read_bytes() for path in folder.glob("cache.db*"))
    writer.close()
