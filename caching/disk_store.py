"""Disk store: one answer per key, as JSON text on disk. Never calls a model, never unpickles."""

import re
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import diskcache
from diskcache.core import MODE_PICKLE
from pydantic import TypeAdapter

from ..errors import StoreError
from ..request import Stored
from .keys import Key
from .store import StoreStats

T = TypeVar("T")
_Disk: Any = diskcache.Disk

_STORED = TypeAdapter(Stored)
_OWN_FILE = re.compile(r"[0-9a-f]{2}[/\\][0-9a-f]{2}[/\\][0-9a-f]{28}\.val")
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class _TextOnlyDisk(_Disk):  # type: ignore[misc]  # diskcache ships no types
    """Stores text and refuses the rest.

    diskcache pickles whatever is not text, bytes or a number, and unpickles what it finds in the
    folder, which lets a planted row run code (CVE-2025-69872). Here nothing reaches pickle, and
    no row can name a file that diskcache did not make.
    """

    def put(self, key: Any) -> Any:
        if not isinstance(key, str):
            raise TypeError(f"A key is text, not {type(key).__name__}")
        return key, True

    def get(self, key: Any, raw: Any) -> Any:
        if not raw or not isinstance(key, str):
            raise ValueError("a key that tierflow did not write")
        return key

    def store(self, value: Any, read: Any, key: Any = diskcache.UNKNOWN) -> Any:
        if not isinstance(value, str):
            raise TypeError(f"A value is text, not {type(value).__name__}")
        return _Disk.store(self, value, read, key=key)

    def fetch(self, mode: Any, filename: Any, value: Any, read: Any) -> Any:
        if mode == MODE_PICKLE:
            raise ValueError("a pickled value, which is never loaded")
        if filename is not None and not _is_own_file(filename):
            raise ValueError("a file that diskcache did not make")
        return _Disk.fetch(self, mode, filename, value, read)

    def remove(self, file_path: Any) -> Any:
        if _is_own_file(file_path):
            _Disk.remove(self, file_path)


def _opening_alone(folder: Path) -> AbstractContextManager[Any]:
    from filelock import FileLock  # noqa: PLC0415  # 15 ms to import

    return FileLock(folder / "opening.lock")


def _is_own_file(path: object) -> bool:
    return isinstance(path, str) and _OWN_FILE.fullmatch(path) is not None


@dataclass(frozen=True, slots=True)
class _Handle:
    """An open cache, and the inode of its database: a new file has another one."""

    cache: Any
    file_number: int | None


class DiskStore:
    """An AnswerStore in a folder, on diskcache; opened on first use. Local file systems only."""

    def __init__(self, folder: Path, *, size_limit_mb: int) -> None:
        self._folder = folder
        self._size_limit = size_limit_mb * 1024 * 1024
        self._opening = threading.Lock()
        self._handle: _Handle | None = None

    def get(self, key: Key) -> Stored | None:
        """Return the answer under a key. An entry that is not ours goes, and counts as none."""

        def read(cache: Any) -> Stored | None:
            try:
                text = cache.get(key)
                return None if text is None else _STORED.validate_json(text)
            except ValueError:
                cache.delete(key)
                return None

        return self._use(read)

    def put(self, key: Key, answer: Stored, *, step: str, ttl_s: float) -> None:
        """Keep an answer for `ttl_s` seconds; it is durable when this returns."""
        text = _STORED.dump_json(answer).decode()
        self._use(lambda cache: cache.set(key, text, expire=ttl_s, tag=step))

    def clear(self, step: str | None = None) -> int:
        """Remove the answers of one step, or all. Return how many went."""
        return self._use(lambda cache: int(cache.clear() if step is None else cache.evict(step)))

    def stats(self) -> StoreStats:
        """Count what is there."""

        def count(cache: Any) -> StoreStats:
            query = "SELECT tag, COUNT(*) FROM Cache GROUP BY tag ORDER BY tag"
            steps = {str(tag): int(number) for tag, number in cache._sql(query).fetchall()}  # noqa: SLF001  # there is no public count by tag
            return StoreStats(str(self._folder), sum(steps.values()), int(cache.volume()), steps)

        return self._use(count)

    def close(self) -> None:
        """Close the files; the next call opens them again."""
        with self._opening:
            if self._handle is not None:
                self._handle.cache.close()
                self._handle = None

    def _use(self, action: Callable[[Any], T]) -> T:
        try:
            handle = self._opened()
            try:
                return action(handle.cache)
            except (sqlite3.DatabaseError, UnicodeDecodeError) as exc:
                if not _is_damage(exc):
                    raise
                return action(self._opened_anew(handle, exc).cache)
        except (sqlite3.Error, UnicodeDecodeError, diskcache.Timeout, OSError) as exc:
            raise StoreError(
                f"The cache {self._folder} cannot be used: {exc}. Free space or repair its rights, "
                f"remove it with rm -r {self._folder}, or set TIERFLOW_CACHE__ENABLED=false."
            ) from exc

    def _opened(self) -> _Handle:
        with self._opening:
            if self._handle is None:
                # `parents` leaves the folders above open to all; the first of them is ours too.
                self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._folder.mkdir(mode=0o700, exist_ok=True)
                self._folder.chmod(0o700)
                # Two first openings at once would find the database locked.
                with _opening_alone(self._folder):
                    self._handle = self._open()
            return self._handle

    def _open(self) -> _Handle:
        try:
            return self._open_database()
        except (sqlite3.DatabaseError, UnicodeDecodeError) as exc:
            if not _is_damage(exc):
                raise
            self._set_aside(exc)
        except (TypeError, AttributeError, KeyError) as exc:
            # diskcache keeps its own settings in the database, and trusts what it finds there.
            self._set_aside(exc)
        return self._open_database()

    def _open_database(self) -> _Handle:
        cache = diskcache.Cache(
            str(self._folder),
            disk=_TextOnlyDisk,
            size_limit=self._size_limit,
            # The oldest go first: least-recently-used makes every hit a write.
            eviction_policy="least-recently-stored",
            tag_index=True,
        )
        return _Handle(cache, self._file_number())

    def _opened_anew(self, failed: _Handle, exc: Exception) -> _Handle:
        with self._opening:
            # Another thread, or another process, may have set the damaged file aside by now.
            if self._handle is failed:
                failed.cache.close()
                self._handle = None
                with _opening_alone(self._folder):
                    if self._file_number() == failed.file_number:
                        self._set_aside(exc)
        return self._opened()

    def _file_number(self) -> int | None:
        database = self._folder / diskcache.core.DBNAME
        return database.stat().st_ino if database.exists() else None

    def _set_aside(self, exc: Exception) -> None:
        """Move a damaged database away: work goes on, and nothing is destroyed."""
        damaged = self._folder / diskcache.core.DBNAME
        kept = damaged.with_name(f"{damaged.name}.damaged-{time.time_ns()}")
        damaged.rename(kept)
        for suffix in ("-wal", "-shm"):
            damaged.with_name(damaged.name + suffix).unlink(missing_ok=True)
        warnings.warn(
            f"The cache {damaged} is damaged ({exc}). It was kept as {kept.name} and a new one "
            "begun; delete it when you do not need it.",
            RuntimeWarning,
            stacklevel=2,
        )


def _is_damage(exc: sqlite3.DatabaseError | UnicodeDecodeError) -> bool:
    # SQLite quotes damaged names in its own messages, which then are no UTF-8. Of its codes the
    # low byte is the primary one; a closed or locked database is not a damaged one.
    code: int = getattr(exc, "sqlite_errorcode", 0)
    return isinstance(exc, UnicodeDecodeError) or code & 0xFF in _DAMAGED
