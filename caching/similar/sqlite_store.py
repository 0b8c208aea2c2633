"""SQLite store: questions and observations in a file, for the processes of one machine."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect

from ...database import SqliteDatabase, reason_of
from ...errors import StoreError
from ...sealing import Seal
from .sql_rows import HALF, observation_row
from .sql_store import SqlSimilarStore
from .sql_tables import OBSERVATIONS, QUESTIONS, tables
from .store import Observation

_LOOK_AT_ONCE = 10_000
_UNIT_WITHIN = 0.02  # of a square of a length


class SqliteSimilarStore(SqlSimilarStore):
    """A SimilarStore in a file of SQLite, which the processes of one machine may share."""

    _database: SqliteDatabase

    def __init__(self, path: Path, *, seal: Seal | None = None) -> None:
        super().__init__(SqliteDatabase("similar cache", path, tables(None).metadata), seal)
        # Straight to the driver: SQLAlchemy's own way there takes longer than the write.
        turn = self._turn().compile(dialect=sqlite_dialect())
        self._turn_sql, self._turn_names = str(turn), tuple(turn.positiontup or ())
        self._add_sql = _insert(self._tables.questions, without="id")
        self._observe_sql = _insert(self._tables.observations)

    def observe(self, observation: Observation) -> int:
        """See SimilarStore. Numbers count within the scope."""
        row, turn = observation_row(observation), self._turn_of(OBSERVATIONS, observation.scope)

        def write(connection: Any) -> int:
            ((seq,),) = connection.execute(self._turn_sql, turn).fetchall()
            connection.execute(self._observe_sql, {"seq": seq, **row})
            return int(seq)

        return self._database.use(write)

    def nearest(
        self, partition: str, vector: NDArray[np.float32], k: int
    ) -> Sequence[tuple[int, float]]:
        """Return ids and cosine similarities of the nearest, nearest first; looks at all.

        Of what is damaged only vectors that cannot be are left out: `changes` tells the rest.
        """
        columns = self._tables.questions.c
        query = sa.select(columns.id, self._read(columns.vector).label("vector")).where(
            columns.partition == partition,
            columns.ask.is_not(None),
            columns.dims == len(vector),
        )
        best: list[tuple[int, float]] = []
        size = len(vector) * HALF.itemsize
        with self._database.connection() as connection:
            parts: Iterator[Sequence[Any]] = connection.execute(query).partitions(_LOOK_AT_ONCE)
            for each in parts:
                part = [row for row in each if len(row.vector or b"") == size]
                kept = np.frombuffer(b"".join(row.vector for row in part), HALF)
                vectors = kept.reshape(len(part), len(vector)).astype(np.float32)
                with np.errstate(all="ignore"):
                    cosines = vectors @ vector
                    unit = np.abs(np.einsum("ij,ij->i", vectors, vectors) - 1) < _UNIT_WITHIN
                cosines = np.where(unit, cosines, -np.inf)
                first = np.argsort(-cosines)[:k]
                best += [(part[at].id, float(cosines[at])) for at in first if unit[at]]
        return sorted(best, key=lambda found: -found[1])[:k]

    def version(self) -> int:
        """See SimilarStore."""
        return self._database.version()

    def faults(self) -> Iterator[str]:
        """See SimilarStore. What cannot be read at all is one of them."""
        try:
            yield from super().faults()
        except StoreError as exc:
            yield f"{self._database.shown}: {reason_of(exc.__cause__ or exc)}"

    def _add(self, row: Mapping[str, Any]) -> int | None:
        turn = self._turn_of(QUESTIONS, row["partition"])
        values = {**row, "vector": row["vector"].tobytes()}

        def write(connection: Any) -> int | None:
            ((seq,),) = connection.execute(self._turn_sql, turn).fetchall()
            try:
                return int(connection.execute(self._add_sql, {"seq": seq, **values}).lastrowid)
            except sqlite3.IntegrityError:
                connection.rollback()
                return None

        return self._database.use(write)

    def _add_with(self, connection: sa.Connection, row: Mapping[str, Any]) -> int:
        turn = self._turn_of(QUESTIONS, row["partition"])
        seq = connection.exec_driver_sql(self._turn_sql, tuple(turn)).scalar_one()
        values = {**row, "vector": row["vector"].tobytes(), "seq": seq}
        return int(connection.exec_driver_sql(self._add_sql, values).lastrowid)

    def _turn_of(self, kind: str, name: str) -> list[Any]:
        log = {"log_kind": kind, "log_name": name, "lines": 1, "live": 1}
        return [log[each] for each in self._turn_names]

    def _has_tag(self, tag: str) -> sa.ColumnElement[bool]:
        tags = self._tables.questions.c.tags
        sound = sa.case((sa.func.json_valid(tags) == 1, tags), else_=sa.null())
        each = sa.func.json_each(sound).table_valued("value")
        return sa.exists().where(each.c.value == tag)

    def _read(self, column: sa.Column[Any]) -> sa.ColumnElement[Any]:
        # Any value may have become one of any other type, or text that is none.
        if isinstance(column.type, sa.Integer | sa.Boolean):
            return sa.cast(column, sa.Integer)
        return sa.cast(column, sa.Double if isinstance(column.type, sa.Double) else sa.LargeBinary)

    def _half(self, kept: bytes) -> bytes:
        return kept

    def _check(self, connection: sa.Connection) -> Iterable[str]:
        found = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
        return [line for line in found if line != "ok"]


def _insert(table: sa.Table, *, without: str = "") -> str:
    columns = [column.name for column in table.columns if column.name != without]
    dialect = sqlite_dialect(paramstyle="named")
    return str(sa.insert(table).compile(dialect=dialect, column_keys=columns))
