"""Disk database: the exact store's file. Opened on first use, and set aside when it is damaged."""

import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..errors import StoreError
from .pickle_free import DATABASE, KNOWN_SETTINGS, PickleFreeCache

T = TypeVar("T")

_SURROUNDINGS = {
    sqlite3.SQLITE_ABORT,
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOLFS,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_TOOBIG,
}
"""SQLite's codes for what is not the file's fault. Our statements are right, so all else is."""

_TAG = "CACHEDIR.TAG"
_TAG_TEXT = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# This folder holds answers that tierflow keeps. Backup programs leave it out; see\n"
    "# https://bford.info/cachedir/\n"
)
_LOCK = "opening.lock"
OWN_FILES = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", _TAG, _LOCK)
"""What belongs into the folder."""

_LEASES = (
    "CREATE TABLE IF NOT EXISTS Lease (key TEXT PRIMARY KEY, owner TEXT, until REAL) WITHOUT ROWID"
)


@dataclass(frozen=True, slots=True)
class _Handle:
    """An open cache, and the inode of its database: a new file has another one."""

    cache: PickleFreeCache
    file_number: int | None


class DiskDatabase:
    """A folder with an SQLite database in it, mode 0700. Local file systems only."""

    def __init__(self, folder: Path, size_limit: int) -> None:
        self.folder = folder
        self.path = folder / DATABASE
        self._size_limit = size_limit
        self._opening = threading.Lock()
        self._handle: _Handle | None = None

    def use(self, action: Callable[[PickleFreeCache], T]) -> T:
        """Do something with the open database; again with a new one if it proves damaged.

        Raises StoreError when there is no using it.
        """
        with self._told():
            handle = self._handle or self._opened()
            try:
                return action(handle.cache)
            except (sqlite3.Error, UnicodeDecodeError) as exc:
                # Somebody may have removed the folder, as our messages advise.
                if not is_damage(exc) and self._file_number() == handle.file_number:
                    raise
                return action(self._opened_anew(handle, exc).cache)

    def look(self, action: Callable[[PickleFreeCache], T], nothing: T) -> T:
        """Do the same, but make no folder: return `nothing` where nothing was ever kept."""
        if self._handle is None:
            with self._told():
                # What is in the folder's place must not be taken for an empty cache.
                if not (self.path.exists() or self.folder.is_file()):
                    return nothing
        return self.use(action)

    def close(self) -> None:
        """Close the files; the next use opens them again."""
        with self._opening:
            if self._handle is not None:
                self._handle.cache.close()
                self._handle = None

    @contextmanager
    def _told(self) -> Generator[None]:
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError, OSError) as exc:
            raise StoreError(
                f"The cache {self.folder} cannot be used: {exc}. Free space or repair its rights, "
                f"remove it with rm -r {self.folder}, or set TIERFLOW_CACHE__MODE=off."
            ) from exc

    def _opened(self) -> _Handle:
        with self._opening:
            if self._handle is None:
                # `parents` leaves the folders above open to all; the first of them is ours too.
                self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self.folder.mkdir(mode=0o700, exist_ok=True)
                self.folder.chmod(0o700)
                # Two first openings at once would find the database locked.
                with _opening_alone(self.folder):
                    self._handle = self._open()
            return self._handle

    def _open(self) -> _Handle:
        tag = self.folder / _TAG
        is_ours = tag.exists() or not self.path.exists()
        if not tag.exists() and is_ours:
            tag.write_text(_TAG_TEXT, encoding="ascii")
        try:
            handle = self._open_database()
        except (sqlite3.Error, UnicodeDecodeError) as exc:
            if not (is_ours and (is_damage(exc) or not self._has_sound_header())):
                raise
            self._set_aside(exc)
            handle = self._open_database()
        if not is_ours:
            tag.write_text(_TAG_TEXT, encoding="ascii")
        return handle

    def _open_database(self) -> _Handle:
        _drop_unknown_settings(self.path)
        cache = PickleFreeCache(self.folder, self._size_limit)
        cache.sql(_LEASES)
        return _Handle(cache, self._file_number())

    def _opened_anew(self, failed: _Handle, exc: Exception) -> _Handle:
        with self._opening:
            # Another thread, or another process, may have set the damaged file aside by now.
            if self._handle is failed:
                failed.cache.close()
                self._handle = None
                if self.folder.exists():
                    with _opening_alone(self.folder):
                        if self._file_number() == failed.file_number:
                            self._set_aside(exc)
        return self._opened()

    def _file_number(self) -> int | None:
        return self.path.stat().st_ino if self.path.exists() else None

    def _has_sound_header(self) -> bool:
        # With any other version than these SQLite takes the file for one of the future, and
        # calls it read-only.
        return self.path.is_file() and set(self.path.read_bytes()[18:20]) <= {1, 2}

    def _set_aside(self, exc: Exception) -> None:
        """Move a damaged database away: work goes on, and nothing is destroyed."""
        kept = self.path.with_name(f"{DATABASE}.damaged-{time.time_ns()}")
        self.path.rename(kept)
        log = self.path.with_name(f"{DATABASE}-wal")
        if log.exists():
            log.rename(f"{kept}-wal")
        self.path.with_name(f"{DATABASE}-shm").unlink(missing_ok=True)
        warnings.warn(
            f"The cache {self.path} is damaged ({exc}). It was kept as {kept.name} and a new one "
            "begun; delete it when you do not need it.",
            RuntimeWarning,
            stacklevel=2,
        )


def is_damage(exc: Exception) -> bool:
    """Tell whether SQLite's error means that the file is not what we wrote."""
    # It quotes damaged names in its own messages, which then are no UTF-8.
    if isinstance(exc, UnicodeDecodeError):
        return True
    if not isinstance(exc, sqlite3.DatabaseError) or isinstance(exc, sqlite3.ProgrammingError):
        return False
    # The low byte is the primary code. Python has no code for a name that is no UTF-8.
    code: int | None = getattr(exc, "sqlite_errorcode", None)
    return code is None or code & 0xFF not in _SURROUNDINGS


def _opening_alone(folder: Path) -> AbstractContextManager[Any]:
    from filelock import FileLock  # noqa: PLC0415  # 15 ms to import

    return FileLock(folder / _LOCK, timeout=60)


def _drop_unknown_settings(path: Path) -> None:
    """Remove settings that diskcache does not know: it makes attributes and pragmas of them."""
    if not path.exists():
        return
    with closing(sqlite3.connect(path, isolation_level=None)) as plain:
        plain.text_factory = bytes
        tables = plain.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        if (b"Settings",) not in tables:
            return
        known = ", ".join(f"'{name}'" for name in KNOWN_SETTINGS)
        unknown = f"typeof(key) <> 'text' OR key NOT IN ({known})"
        if plain.execute(f"SELECT 1 FROM Settings WHERE {unknown} LIMIT 1").fetchall():  # noqa: S608  # constants
            plain.execute(f"DELETE FROM Settings WHERE {unknown}")  # noqa: S608  # constants
