"""Pickle-free: diskcache without its values. SQL only; nothing is ever pickled or unpickled.

diskcache keeps connections per thread and process, its schema, and the size of the file. What it
would store and load itself goes through pickle, which lets a planted row run code
(CVE-2025-69872): that way is closed here, and rows are read and written as plain bytes.
"""

import re
import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import diskcache
from diskcache.core import DEFAULT_SETTINGS, METADATA

DATABASE: str = diskcache.core.DBNAME
_SETTINGS: dict[str, Any] = {
    **DEFAULT_SETTINGS,
    # Its index and its order. Reads do not come through diskcache, so none becomes a write.
    "eviction_policy": "least-recently-used",
    # A file that is cut short under a process would end it, were it mapped into its memory.
    "sqlite_mmap_size": 0,
    # What was removed is overwritten.
    "sqlite_secure_delete": 1,
}
KNOWN_SETTINGS: tuple[str, ...] = (*_SETTINGS, *METADATA)
"""Names that belong into the table Settings. diskcache would obey any other, too."""

Sql = Callable[..., sqlite3.Cursor]

_LOCK_WAIT_S = 10.0
_OLD_FILE = re.compile(r"[0-9a-f]{2}[/\\][0-9a-f]{2}[/\\][0-9a-f]{28}\.val")
_Cache: Any = diskcache.Cache
_Disk: Any = diskcache.Disk


class _ClosedDisk(_Disk):  # type: ignore[misc]  # diskcache ships no types
    """Neither writes nor reads a value, whichever method of diskcache asks for it."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("Values do not go through diskcache: it would pickle or unpickle them.")

    put = get = store = fetch = _refuse

    def remove(self, file_path: Any) -> None:
        """Remove a file that diskcache once made for a long value; no other."""
        if isinstance(file_path, str) and _OLD_FILE.fullmatch(file_path):
            _Disk.remove(self, file_path)


# What diskcache raises when it trips over settings that it never wrote.
_TRIPPED = (AttributeError, KeyError, TypeError, ValueError)


class PickleFreeCache(_Cache):  # type: ignore[misc]  # diskcache ships no types
    """A diskcache.Cache whose table is reached through SQL. One connection per thread."""

    def __init__(self, folder: Path, size_limit: int) -> None:
        # All of them are given, so that none is taken from the database.
        try:
            super().__init__(  # pyright: ignore[reportUnknownMemberType]  # diskcache has no types
                str(folder),
                timeout=_LOCK_WAIT_S,
                disk=_ClosedDisk,
                **_SETTINGS | {"size_limit": size_limit},
            )
        except _TRIPPED as exc:
            raise _damaged(exc) from exc

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection of this thread, in this process."""
        try:
            found: sqlite3.Connection = self._con
        except _TRIPPED as exc:
            raise _damaged(exc) from exc
        return found

    @property
    def sql(self) -> Sql:
        """Execute one statement on this thread's connection."""
        return self.connection.execute

    @contextmanager
    def writing(self) -> Generator[Sql]:
        """Hold the lock for writing; all statements of the block count, or none."""
        connection = self.connection
        if connection.in_transaction:
            connection.rollback()  # of a block that Ctrl-C left at a bad moment
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection.execute
            connection.execute("COMMIT")
        except BaseException:
            # SQLite has undone it by itself when the disk is full.
            if connection.in_transaction:
                connection.rollback()
            raise

    def try_write(self, statement: str, values: Sequence[object]) -> None:
        """Execute a statement that may as well be left out: it waits for nobody."""
        with suppress(sqlite3.OperationalError):
            try:
                self.sql("PRAGMA busy_timeout = 0")
                self.sql(statement, values)
            finally:
                self.sql(f"PRAGMA busy_timeout = {1000 * _LOCK_WAIT_S:.0f}")

    def evict(self, sql: Sql, now: float) -> None:
        """Remove a few rows: the expired, then while the file is too large the least used."""
        old_files: list[str | None] = []
        self._cull(now, sql, old_files.append)
        self.remove_files(old_files)

    def remove_files(self, names: Sequence[str | None]) -> None:
        """Remove the files that rows of older versions name."""
        for name in filter(None, names):
            self._disk.remove(name)

    def volume(self) -> int:
        """Return the size of the database in bytes."""
        ((pages,),) = self.sql("PRAGMA page_count").fetchall()
        return int(pages * self._page_size)


def _damaged(exc: Exception) -> sqlite3.DatabaseError:
    return sqlite3.DatabaseError(f"its table Settings cannot be read: {exc}")
