"""SQL placements: what workers sent where, in SQLite for one machine or PostgreSQL for many."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import SecretStr

from ...database import Database, SqliteDatabase
from ...postgres import SCHEMA, PostgresDatabase
from .sharing import KEPT_S, Sent

_MOST_READ = 1000


def _tables(schema: str | None) -> sa.MetaData:
    tables = sa.MetaData(schema=schema)
    sa.Table(
        "placements_v1",
        tables,
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("at", sa.Double, nullable=False, index=True),
        sa.Column("worker", sa.String, nullable=False),
        sa.Column("pool", sa.String, nullable=False),
        sa.Column("replica", sa.String, nullable=False),
        sa.Column("blocks", sa.LargeBinary, nullable=False),
        # Not logged, so not flushed: a server that crashed may forget who held what.
        prefixes=["UNLOGGED"] if schema else [],
        # Ids of rows that are gone are not given again, or nobody would read the new ones.
        sqlite_autoincrement=True,
    )
    return tables


class SqlPlacements:
    """Placements in a SQLite file, or in PostgreSQL; opened on first use.

    `place`: the file's path, or the URL (see PostgresDatabase). `clock`: seconds since 1970.
    """

    def __init__(self, place: Path | SecretStr, clock: Callable[[], float] = time.time) -> None:
        self._database: Database
        self._path: Path | None = None
        if isinstance(place, Path):
            self._path = place
            tables = _tables(None)
            self._database = SqliteDatabase("file of placements", place, tables)
        else:
            tables = _tables(SCHEMA)
            self._database = PostgresDatabase("table of placements", place, tables)
        (self._table,) = tables.tables.values()
        self._clock = clock

    def tell(self, worker: str, sent: Sequence[Sent]) -> None:
        """See Placements."""
        now = self._clock()
        rows: list[dict[str, Any]] = [
            {
                "at": now,
                "worker": worker,
                "pool": each.pool,
                "replica": each.replica,
                "blocks": each.packed(),
            }
            for each in sent
        ]
        old = sa.delete(self._table).where(self._table.c.at < now - KEPT_S)
        with self._database.connection() as connection:
            connection.execute(sa.insert(self._table), rows)
            connection.execute(old)

    def heard(self, worker: str, after: int) -> tuple[int, Sequence[Sent]]:
        """See Placements. Makes no file where there is none."""
        if self._path is not None and not self._path.exists():
            return after, ()
        columns = self._table.c
        # The oldest of many are told no more: what is newer says where they went since.
        query = (
            sa.select(columns.id, columns.worker, columns.pool, columns.replica, columns.blocks)
            .where(columns.id > after, columns.at >= self._clock() - KEPT_S)
            .order_by(columns.id.desc())
            .limit(_MOST_READ)
        )
        with self._database.connection() as connection:
            rows = connection.execute(query).fetchall()[::-1]
        last = int(rows[-1][0]) if rows else after
        told = [
            Sent.of(pool, replica, blocks)
            for _, who, pool, replica, blocks in rows
            if who != worker
        ]
        return last, told

    def close(self) -> None:
        """See Placements."""
        self._database.close()
