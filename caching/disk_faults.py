"""Disk faults: what is damaged or foreign in the exact store's folder. Mends nothing."""

import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .codec import Codec, UnreadableError
from .disk_database import OWN_FILES, DiskDatabase, is_damage
from .disk_rows import read_row
from .keys import Key
from .pickle_free import PickleFreeCache

_PAGE = 200
_ROWS = (
    "SELECT rowid, CAST(key AS BLOB), raw, CAST(tag AS BLOB), mode, CAST(filename AS BLOB),"
    " CAST(value AS BLOB), expire_time FROM Cache WHERE rowid > ? ORDER BY rowid LIMIT ?"
)
_FIRST = -(2**63)
_RAW_MODE = 1
_SET_ASIDE = re.compile(r".*\.damaged-\d+(-wal)?")

_Checked = tuple[list[str], int | None]
"""Lines, and after which row to go on; None at the end."""


def faults(database: DiskDatabase, codec: Codec) -> Iterator[str]:
    """Yield a line for each fault. It names the file, and the key where there is one."""
    nothing: _Checked = [], None
    lines, after = database.look(_check_database(database.path), nothing)
    yield from lines
    while after is not None:
        lines, after = database.look(_check_page(database.path, codec, after), nothing)
        yield from lines
    yield from _check_files(database.folder)


def _check_database(path: Path) -> Callable[[PickleFreeCache], _Checked]:
    def check(cache: PickleFreeCache) -> _Checked:
        try:
            found = cache.sql("PRAGMA integrity_check").fetchall()
        except sqlite3.DatabaseError as exc:
            if not is_damage(exc):
                raise
            found = [(str(exc),)]
        return [f"{path}: {line}" for (line,) in found if line != "ok"], _FIRST

    return check


def _check_page(path: Path, codec: Codec, after: int) -> Callable[[PickleFreeCache], _Checked]:
    def check(cache: PickleFreeCache) -> _Checked:
        try:
            rows = cache.sql(_ROWS, (after, _PAGE)).fetchall()
        except sqlite3.DatabaseError as exc:
            if not is_damage(exc):
                raise
            return [f"{path}: the rows after number {after} cannot be read: {exc}"], None
        lines = [
            f"{path}: key {_shown(row[1])}: {fault}"
            for row in rows
            if (fault := _fault(codec, row))
        ]
        return lines, rows[-1][0] if len(rows) == _PAGE else None

    return check


def _fault(codec: Codec, row: Any) -> str | None:
    _, key, raw, tag, mode, filename, kept, expire_time = row
    if raw != 1:
        return "a key that tierflow did not write"
    if mode != _RAW_MODE or filename is not None:
        file = f" in the file {_shown(filename)}" if filename is not None else ""
        return f"a value of mode {mode}{file} that tierflow did not write; it is never loaded"
    try:
        entry = read_row(codec, Key(key.decode()), tag, kept)
    except UnreadableError as exc:
        return str(exc)
    except UnicodeDecodeError:
        return "a key that is no text"
    if expire_time != entry.expires_at:
        return "its column expire_time is not the entry's"
    return None


def _check_files(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or (path.parent == folder and path.name in OWN_FILES):
            continue
        if path.parent == folder and _SET_ASIDE.fullmatch(path.name):
            yield f"{path}: was damaged and set aside; delete it when you do not need it"
        else:
            yield f"{path}: a file that tierflow did not write"


def _shown(name: bytes | None) -> str:
    # A planted name may hold a terminal's control characters.
    return ascii((name or b"")[:64].decode(errors="replace"))[1:-1]
