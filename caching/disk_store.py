"""Disk store: one answer per key, as checked JSON in SQLite. Never calls a model, never unpickles.

The rows are those of diskcache's table; disk_rows.py says what stands in them.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..sealing import Seal
from .codec import Codec, UnreadableError
from .disk_database import DiskDatabase
from .disk_rows import is_meant, read_row, read_tag, tag_of, tells_failure
from .keys import Key
from .pickle_free import PickleFreeCache
from .store import Entry, Selection, StoreStats

_PAGE = 200

# What is damaged may be no text, or text that is no UTF-8, which sqlite3 would quote in an error.
_GET = (
    "SELECT rowid, CAST(tag AS BLOB), CAST(value AS BLOB), access_time"
    " FROM Cache WHERE key = ? AND raw = 1"
)
_PUT = (
    "INSERT INTO Cache (key, raw, store_time, expire_time, access_time, tag, mode, value)"
    " VALUES (?, 1, ?, ?, ?, ?, 1, ?) ON CONFLICT (key, raw) DO UPDATE SET"
    " store_time = excluded.store_time, expire_time = excluded.expire_time,"
    " access_time = excluded.access_time, access_count = 0, tag = excluded.tag, size = 0,"
    " mode = excluded.mode, filename = NULL, value = excluded.value"
)
_REMOVE = "DELETE FROM Cache WHERE key = ? AND raw = 1"
_DROP = "DELETE FROM Cache WHERE rowid = ? AND CAST(value AS BLOB) IS ?"
_USED = "UPDATE Cache SET access_time = ? WHERE rowid = ? AND key = ?"
_LABELLED = "SELECT rowid, filename, CAST(tag AS BLOB) FROM Cache"
_KEPT = "SELECT rowid FROM Cache WHERE expire_time > ? ORDER BY store_time, rowid"
_ROWS = (
    "SELECT CAST(key AS BLOB), CAST(tag AS BLOB), CAST(value AS BLOB)"
    " FROM Cache WHERE rowid IN ({}) AND raw = 1 ORDER BY store_time, rowid"
)
_COUNT = "SELECT CAST(tag AS BLOB), COUNT(*) FROM Cache WHERE expire_time > ? GROUP BY tag"
_HELD = "SELECT 1 FROM Lease WHERE key = ? AND owner <> ? AND until > ?"
_LAPSE = "DELETE FROM Lease WHERE until <= ?"
_LEASE = (
    "INSERT INTO Lease (key, owner, until) VALUES (?, ?, ?)"
    " ON CONFLICT (key) DO UPDATE SET until = excluded.until WHERE owner = excluded.owner"
)
_RELEASE = "DELETE FROM Lease WHERE key = ? AND owner = ?"


class DiskStore:
    """An AnswerStore in a folder; opened on first use. Local file systems only.

    `size_limit_mb`: what was not used for longest goes when it is passed. `seal`: encrypts what is
    kept, though not its labels. `clock`: seconds since 1970.
    """

    def __init__(
        self,
        folder: Path,
        *,
        size_limit_mb: float,
        seal: Seal | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = DiskDatabase(folder, int(size_limit_mb * 1024 * 1024))
        self._codec = Codec(seal)
        self._clock = clock

    def get(self, key: Key) -> Entry | None:
        """Return what is under a key. What is damaged goes, and counts as none."""
        return self._database.look(lambda cache: self._get(cache, key), None)

    def put(self, key: Key, entry: Entry) -> None:
        """Keep an entry. It outlives this process as soon as this returns."""
        kept, tag = self._codec.encode(key, entry), tag_of(entry)

        def write(cache: PickleFreeCache) -> None:
            now = self._clock()
            with cache.writing() as sql:
                sql(_PUT, (key, entry.stored_at, entry.expires_at, now, tag.decode(), kept))
                if not sql(_GET, (key,)).fetchone():
                    raise sqlite3.DatabaseError("its index does not find what was just written")
                cache.evict(sql, now)

        self._database.use(write)

    def remove(self, key: Key) -> bool:
        """Remove what is under a key. Tell whether there was anything."""
        return self._database.look(lambda cache: cache.sql(_REMOVE, (key,)).rowcount > 0, False)

    def invalidate(self, which: Selection) -> int:
        """Remove what fits a selection, all at once. Return how many went."""

        def sweep(cache: PickleFreeCache) -> int:
            with cache.writing() as sql:
                meant = [
                    (rowid, filename)
                    for rowid, filename, tag in sql(_LABELLED)
                    if is_meant(which, tag)
                ]
                for rowid, _ in meant:
                    if not sql("DELETE FROM Cache WHERE rowid = ?", (rowid,)).rowcount:
                        raise sqlite3.DatabaseError(f"its row {rowid} is not where it belongs")
            cache.remove_files([filename for _, filename in meant])
            # SQLite's log may hold what was removed. If others are reading, it goes a little later.
            cache.try_write("PRAGMA wal_checkpoint(TRUNCATE)", ())
            return len(meant)

        return self._database.look(sweep, 0)

    def entries(self) -> Iterator[tuple[Key, Entry]]:
        """Yield all that can be read and has not expired, oldest first."""
        now = self._clock()
        found: list[tuple[int]] = []
        found = self._database.look(lambda cache: cache.sql(_KEPT, (now,)).fetchall(), found)
        for start in range(0, len(found), _PAGE):
            # Page by page: a long read would keep SQLite from tidying its log.
            yield from self._page([rowid for (rowid,) in found[start : start + _PAGE]], now)

    def faults(self) -> Iterator[str]:
        """Check the database and every row of it. A line names the file, and the key if any."""
        from .disk_faults import faults  # noqa: PLC0415  # only who verifies needs it

        return faults(self._database, self._codec)

    def stats(self) -> StoreStats:
        """Count what can be found by its labels."""
        path = str(self._database.folder)

        def count(cache: PickleFreeCache) -> StoreStats:
            steps: dict[str, int] = {}
            failures = 0
            for tag, number in cache.sql(_COUNT, (self._clock(),)).fetchall():
                if labels := read_tag(tag):
                    steps[labels.step] = steps.get(labels.step, 0) + number
                    failures += number if tells_failure(tag) else 0
            total = sum(steps.values())
            return StoreStats(path, total, cache.volume(), dict(sorted(steps.items())), failures)

        return self._database.look(count, StoreStats(path, 0, 0, {}))

    def lease(self, key: Key, owner: str, ttl_s: float) -> bool:
        """Take or prolong the right to ask for a key, among all processes with this folder."""

        def take(cache: PickleFreeCache) -> bool:
            now = self._clock()
            # Whoever waits asks again and again: that must not become a write.
            if cache.sql(_HELD, (key, owner, now)).fetchone():
                return False
            with cache.writing() as sql:
                sql(_LAPSE, (now,))
                return sql(_LEASE, (key, owner, now + ttl_s)).rowcount > 0

        return self._database.use(take)

    def release(self, key: Key, owner: str) -> None:
        """Give a lease back; nothing happens if it is another's by now."""
        self._database.look(lambda cache: bool(cache.sql(_RELEASE, (key, owner))), False)

    def close(self) -> None:
        """Close the files; the next call opens them again."""
        self._database.close()

    def _get(self, cache: PickleFreeCache, key: Key) -> Entry | None:
        row = cache.sql(_GET, (key,)).fetchone()
        if row is None:
            return None
        rowid, tag, kept, used_at = row
        try:
            entry = read_row(self._codec, key, tag, kept)
        except UnreadableError as exc:
            if exc.damaged:
                cache.try_write(_DROP, (rowid, kept))
            return None
        now = self._clock()
        if not now < entry.expires_at:  # which may be no number
            return None
        # Coarse, so that a read is almost never a write: once an hour, or a tenth of its life.
        coarse_s = min(3600.0, (entry.expires_at - entry.stored_at) / 10)
        if not isinstance(used_at, float) or used_at < now - coarse_s:
            cache.try_write(_USED, (now, rowid, key))
        return entry

    def _page(self, rowids: Sequence[int], now: float) -> Iterator[tuple[Key, Entry]]:
        query = _ROWS.format(",".join("?" * len(rowids)))
        rows = self._database.use(lambda cache: cache.sql(query, rowids).fetchall())
        for key_bytes, tag, kept in rows:
            try:
                key = Key(key_bytes.decode())
                entry = read_row(self._codec, key, tag, kept)
            except ValueError:
                continue
            if entry.expires_at > now:
                yield key, entry
