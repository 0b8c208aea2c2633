"""PostgreSQL store: one answer per key, for all workers of all machines. Never calls a model.

A row holds the codec's bytes, and the entry's labels once more in columns, to be found by.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.dialects.postgresql import JSONB

from ..postgres import SCHEMA, PostgresDatabase
from ..sealing import Seal
from .codec import Codec, UnreadableError
from .keys import Key
from .sql_labels import conditions, label_columns
from .store import Entry, Failure, Selection, StoreStats

_PAGE = 200
_AROUND = 300  # bytes of a row besides what is kept, about
_USED_COARSE_S = 3600.0
_SWEEP_LOCK = 0x7469_6572_7377_6570

_METADATA = sa.MetaData(schema=SCHEMA)
_ENTRIES = sa.Table(
    "entries_v1",
    _METADATA,
    sa.Column("key", sa.String, primary_key=True),
    *label_columns(JSONB()),
    sa.Column("failure", sa.Boolean, nullable=False),
    sa.Column("stored_at", sa.Double, nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False),
    # No index: then noting a use moves nothing else.
    sa.Column("used_at", sa.Double, nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("kept", sa.LargeBinary, nullable=False),
    sa.Index("entries_v1_oldest", "stored_at", "key"),
)
_LEASES = sa.Table(
    "leases_v1",
    _METADATA,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("owner", sa.String, nullable=False),
    sa.Column("until", sa.DateTime(timezone=True), nullable=False),
    # Not logged, so not flushed either: a server that crashed may forget who was asking.
    prefixes=["UNLOGGED"],
)

# Straight to the driver, one statement and one round trip each.
_COLUMNS = "step, tenant, prefix, tags, failure, stored_at, expires_at, used_at, size, kept"
_GET = f"SELECT step, tenant, prefix, tags, kept, used_at FROM {_ENTRIES} WHERE key = %s"  # noqa: S608  # constants
_PUT = (
    f"INSERT INTO {_ENTRIES} (key, {_COLUMNS})"  # noqa: S608  # constants
    " VALUES (%s, %s, %s, %s, %s::jsonb, %s, %s, %s, %s, %s, %s)"
    f" ON CONFLICT (key) DO UPDATE SET ({_COLUMNS}) ="
    f" (excluded.{_COLUMNS.replace(', ', ', excluded.')})"
)
_USED = f"UPDATE {_ENTRIES} SET used_at = %s WHERE key = %s AND used_at < %s"  # noqa: S608  # constants
_REMOVE = f"DELETE FROM {_ENTRIES} WHERE key = %s"  # noqa: S608  # constants
_DROP = f"DELETE FROM {_ENTRIES} WHERE key = %s AND kept = %s"  # noqa: S608  # constants
_NOW = "coalesce(to_timestamp(%s), clock_timestamp())"
_LEASE = (
    f"INSERT INTO {_LEASES} AS held (key, owner, until)"  # noqa: S608  # constants
    f" VALUES (%s, %s, {_NOW} + make_interval(secs => %s))"
    " ON CONFLICT (key) DO UPDATE SET owner = excluded.owner, until = excluded.until"
    f" WHERE held.owner = excluded.owner OR held.until <= {_NOW} RETURNING 1"
)
_RELEASE = f"DELETE FROM {_LEASES} WHERE key = %s AND owner = %s"  # noqa: S608  # constants
_EXPIRED = (
    f"DELETE FROM {_ENTRIES} WHERE expires_at <= %s",  # noqa: S608  # constants
    f"DELETE FROM {_LEASES} WHERE until <= {_NOW}",  # noqa: S608  # constants
)
_OVER = (
    f"DELETE FROM {_ENTRIES} WHERE key IN (SELECT key FROM (SELECT key, sum(size) OVER"  # noqa: S608  # constants
    f" (ORDER BY used_at DESC, stored_at DESC, key) AS total FROM {_ENTRIES}) AS ranked"
    " WHERE total > %s)"
)


class PostgresStore:
    """An AnswerStore in PostgreSQL; opened on first use.

    `url`: see PostgresDatabase. `size_limit_mb`: what was not used for longest goes when it is
    passed; each process looks after a sixteenth of it in writes of its own. `seal`: encrypts what
    is kept, though not its labels. `clock`: seconds since 1970; without one, leases go by the
    server's clock, which is the same for all.
    """

    def __init__(
        self,
        url: SecretStr,
        *,
        size_limit_mb: float,
        seal: Seal | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._database = PostgresDatabase("cache", url, _METADATA)
        self._codec = Codec(seal)
        self._clock = clock or time.time
        self._lease_clock = clock or _server_time
        self._size_limit = int(size_limit_mb * 1024 * 1024)
        self._written = 0
        self._counting = threading.Lock()

    def get(self, key: Key) -> Entry | None:
        """Return what is under a key, in one round trip. What is damaged counts as none."""
        row = self._database.use(lambda sql: sql.execute(_GET, (key,)).fetchone(), again=True)
        if row is None:
            return None
        *labels, kept, used_at = row
        try:
            entry = _read(self._codec, key, labels, kept)
        except UnreadableError as exc:
            if exc.damaged:
                self._do(_DROP, key, bytes(kept))
            return None
        now = self._clock()
        if entry.expires_at <= now:
            return None
        # Coarse, so that a read is almost never a write.
        coarse_s = min(_USED_COARSE_S, (entry.expires_at - entry.stored_at) / 10)
        if used_at < now - coarse_s:
            self._do(_USED, now, key, now)
        return entry

    def put(self, key: Key, entry: Entry) -> None:
        """Keep an entry, in place of an older one; it is durable when this returns."""
        kept, labels = self._codec.encode(key, entry), entry.labels
        size = len(kept) + _AROUND
        self._do(
            _PUT,
            key,
            labels.step,
            labels.tenant,
            labels.prefix,
            json.dumps(labels.tags),
            isinstance(entry.content, Failure),
            entry.stored_at,
            entry.expires_at,
            self._clock(),
            size,
            kept,
        )
        with self._counting:
            self._written += size
            is_due = self._written > self._size_limit // 16
            if is_due:
                self._written = 0
        if is_due:
            self.sweep()

    def remove(self, key: Key) -> bool:
        """Remove what is under a key. Tell whether there was anything."""
        # Not done twice: the second time it would not be there.
        return self._database.use(lambda sql: int(sql.execute(_REMOVE, (key,)).rowcount)) > 0

    def invalidate(self, which: Selection) -> int:
        """Remove what fits a selection, all at once. Return how many went."""
        with self._database.connection() as connection:
            # Two that remove many rows at once could wait for each other.
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SWEEP_LOCK)))
            return connection.execute(sa.delete(_ENTRIES).where(*_conditions(which))).rowcount

    def entries(self) -> Iterator[tuple[Key, Entry]]:
        """Yield all that can be read and has not expired, oldest first."""
        now = self._clock()
        for key, labels, kept, expires_at in self._rows():
            if expires_at > now:
                try:
                    yield key, _read(self._codec, key, labels, kept)
                except UnreadableError:
                    continue

    def faults(self) -> Iterator[str]:
        """Check every row. A line names the store and the key."""
        for key, labels, kept, expires_at in self._rows():
            fault = _fault(self._codec, key, labels, kept, expires_at)
            if fault is not None:
                yield f"{self._database.shown}: key {ascii(key[:64])[1:-1]}: {fault}"

    def stats(self) -> StoreStats:
        """Count what has not expired. The bytes are those of the entries, before compression."""
        columns = _ENTRIES.c
        failures = sa.func.count().filter(columns.failure)
        query = (
            sa.select(columns.step, sa.func.count(), failures, sa.func.sum(columns.size))
            .where(columns.expires_at > self._clock())
            .group_by(columns.step)
        )
        with self._database.connection() as connection:
            found = connection.execute(query).all()
        steps = {str(step): int(number) for step, number, _, _ in sorted(found)}
        return StoreStats(
            self._database.shown,
            sum(steps.values()),
            int(sum(size for *_, size in found)),
            steps,
            int(sum(failed for _, _, failed, _ in found)),
        )

    def lease(self, key: Key, owner: str, ttl_s: float) -> bool:
        """Take or prolong the right to ask for a key, among all workers, by the server's time."""
        now = self._lease_clock()
        values = (key, owner, now, ttl_s, now)
        taken = self._database.use(lambda sql: sql.execute(_LEASE, values).fetchone(), again=True)
        return taken is not None

    def release(self, key: Key, owner: str) -> None:
        """Give a lease back; nothing happens if it is another's by now."""
        self._do(_RELEASE, key, owner)

    def sweep(self) -> None:
        """Remove what has expired and, above the size limit, what was not used for longest.

        `put` calls it now and then. Returns at once when another process is at it.
        """
        with self._database.connection() as connection:
            alone = sa.select(sa.func.pg_try_advisory_xact_lock(_SWEEP_LOCK))
            if not connection.execute(alone).scalar_one():
                return
            connection.exec_driver_sql(_EXPIRED[0], (self._clock(),))
            connection.exec_driver_sql(_EXPIRED[1], (self._lease_clock(),))
            total = connection.execute(sa.select(sa.func.sum(_ENTRIES.c.size))).scalar_one() or 0
            if total > self._size_limit:
                # Some below it, so that the next one is not due at once.
                connection.exec_driver_sql(_OVER, (self._size_limit * 9 // 10,))

    def close(self) -> None:
        """Close the connections; the next call opens them again."""
        self._database.close()

    def _do(self, sql: str, *values: object) -> int:
        # Each of these may be done twice: the second time changes nothing.
        return self._database.use(lambda to: int(to.execute(sql, values).rowcount), again=True)

    def _rows(self) -> Iterator[tuple[Key, list[Any], bytes, float]]:
        """Yield key, labels, what is kept and expiry, oldest first, in pages: no long read."""
        columns = _ENTRIES.c
        place = sa.tuple_(columns.stored_at, columns.key)
        query = (
            sa.select(
                *(columns.key, columns.step, columns.tenant, columns.prefix, columns.tags),
                *(columns.kept, columns.expires_at, columns.stored_at),
            )
            .order_by(columns.stored_at, columns.key)
            .limit(_PAGE)
        )
        page = query
        while True:
            with self._database.connection() as connection:
                found = connection.execute(page).all()
            for key, step, tenant, prefix, tags, kept, expires_at, _ in found:
                yield Key(key), [step, tenant, prefix, tags], kept, expires_at
            if len(found) < _PAGE:
                return
            page = query.where(place > sa.tuple_(found[-1].stored_at, found[-1].key))


def _server_time() -> None:
    """Leave it to the server."""


def _conditions(which: Selection) -> list[sa.ColumnElement[bool]]:
    return conditions(which, _ENTRIES, lambda tag: _ENTRIES.c.tags.contains([tag]))


def _read(codec: Codec, key: Key, labels: list[Any], kept: bytes) -> Entry:
    entry = codec.decode(key, bytes(kept))
    own = entry.labels
    if labels != [own.step, own.tenant, own.prefix, list(own.tags)]:
        # Otherwise it could never be invalidated.
        raise UnreadableError("its labels are not those it is filed under", damaged=True)
    return entry


def _fault(codec: Codec, key: Key, labels: list[Any], kept: bytes, expires_at: float) -> str | None:
    try:
        entry = _read(codec, key, labels, kept)
    except UnreadableError as exc:
        return str(exc)
    return None if entry.expires_at == expires_at else "its column expires_at is not the entry's"
