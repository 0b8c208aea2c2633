"""Ground: vectors on disk, by the SHA-256 of their texts. Keeps no text, and calls no model.

A cache that may lose everything: what cannot be read or written costs time, never an answer.
Vectors say much about their texts (Morris et al. 2023, arXiv 2310.06816): treat them alike.
"""

import sqlite3
import time
import warnings
import weakref
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, TypeAlias, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector: TypeAlias = NDArray[np.float32]

T = TypeVar("T")

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
# Encoding a text again takes 3 ms: longer than this is not waited for another process.
_WAIT_S = 0.1
# SQLite takes 999 variables in a statement in all builds.
_KEYS_AT_ONCE = 500
_TABLE = """
CREATE TABLE IF NOT EXISTS vectors (text BLOB NOT NULL UNIQUE, vector BLOB NOT NULL)
"""
# Five vectors of 384 numbers fill a page; only two would fit into one of the usual 4096 bytes.
_PAGE_BYTES = 8192
# The key, the checksum and SQLite's own bytes of a row.
_ROW_BYTES = 180


class DiskEmbeddings:
    """Vectors of one encoder in an SQLite file, opened on first use. Thread-safe.

    `path`: one file for each fingerprint. `dimensions`: length of a vector. `size_limit_mb`: when
    there is more, the oldest go. Vectors are kept as float32, 4 d bytes: float16 would halve that,
    but then an answer could depend on whether its vector was computed or read.
    """

    def __init__(self, path: Path, dimensions: int, *, size_limit_mb: int = 256) -> None:
        self._path = path
        self._bytes = 4 * dimensions
        self._most_rows = max(1, size_limit_mb * 1024 * 1024 // (self._bytes + _ROW_BYTES))
        self._using = Lock()
        self._connection: sqlite3.Connection | None = None
        self._closing: Callable[[], object] | None = None
        self._given_up = False

    def get(self, keys: Sequence[bytes]) -> "dict[bytes, Vector]":
        """Return the vectors, each (d,), that are kept under these keys."""

        def read(connection: sqlite3.Connection) -> "dict[bytes, Vector]":
            found: dict[bytes, Vector] = {}
            for start in range(0, len(keys), _KEYS_AT_ONCE):
                part = keys[start : start + _KEYS_AT_ONCE]
                marks = ",".join("?" * len(part))
                query = f"SELECT text, vector FROM vectors WHERE text IN ({marks})"  # noqa: S608  # question marks only
                for key, kept in connection.execute(query, part):
                    if (vector := self._unpacked(key, kept)) is not None:
                        found[key] = vector
            return found

        return self._use(read, {})

    def put(self, vectors: "Mapping[bytes, Vector]") -> None:
        """Keep vectors, each (d,), in one transaction."""
        rows = [(key, _packed(key, vector)) for key, vector in vectors.items()]

        def write(connection: sqlite3.Connection) -> None:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                # Replacing also mends a row whose checksum was wrong.
                connection.executemany("REPLACE INTO vectors (text, vector) VALUES (?, ?)", rows)
                connection.execute(
                    "DELETE FROM vectors WHERE rowid <= (SELECT max(rowid) FROM vectors) - ?",
                    (self._most_rows,),
                )

        self._use(write, None)

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        with self._using:
            self._close()

    def _use(self, action: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        with self._using:
            if self._given_up:
                return otherwise
            try:
                try:
                    return action(self._opened())
                except sqlite3.DatabaseError as exc:
                    if _code(exc) not in _DAMAGED:
                        raise
                    self._set_aside(exc)
                    return action(self._opened())
            except (sqlite3.Error, OSError) as exc:
                self._close()
                if not (isinstance(exc, sqlite3.Error) and _code(exc) in _BUSY):
                    self._give_up(exc)
                return otherwise

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # The lock keeps threads apart.
            connection = sqlite3.connect(
                self._path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False
            )
            self._connection = connection
            self._closing = weakref.finalize(self, connection.close)
            connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(_TABLE)
        return self._connection

    def _close(self) -> None:
        if self._closing is not None:
            self._closing()
        self._connection = self._closing = None

    def _set_aside(self, exc: sqlite3.Error) -> None:
        """Move a damaged file away: work goes on, and nothing is destroyed."""
        self._close()
        kept = self._path.with_name(f"{self._path.name}.damaged-{time.time_ns()}")
        self._path.rename(kept)
        for suffix in ("-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        warnings.warn(
            f"The embeddings in {self._path} are damaged ({exc}). They were kept as {kept.name} "
            "and new ones begun; delete that file when you do not need it.",
            RuntimeWarning,
            stacklevel=2,
        )

    def _give_up(self, exc: Exception) -> None:
        self._given_up = True
        warnings.warn(
            f"The embeddings in {self._path} cannot be used ({exc}): this process computes its own "
            "and keeps them in memory. Make the folder writable to keep them.",
            RuntimeWarning,
            stacklevel=2,
        )

    def _unpacked(self, key: bytes, kept: object) -> "Vector | None":
        """Return the vector of a row, None if it is not what was written."""
        import numpy as np  # noqa: PLC0415  # import tierflow must stay cheap

        if not isinstance(kept, bytes) or len(kept) != 4 + self._bytes:
            return None
        if kept[:4] != _checksum(key, kept[4:]):
            return None
        return np.frombuffer(kept, dtype="<f4", offset=4).astype(np.float32)


def _packed(key: bytes, vector: "Vector") -> bytes:
    numbers = vector.astype("<f4").tobytes()
    return _checksum(key, numbers) + numbers


def _checksum(key: bytes, numbers: bytes) -> bytes:
    # SQLite has none: a flipped bit would make another, just as plausible vector.
    return zlib.crc32(numbers, zlib.crc32(key)).to_bytes(4, "little")


def _code(exc: sqlite3.Error) -> int:
    """Return the primary one of SQLite's codes, its low byte; 0 where there is none."""
    code: int = getattr(exc, "sqlite_errorcode", 0)
    return code & 0xFF
