"""PostgreSQL store: questions and observations that all workers share, vectors in pgvector."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from pydantic import SecretStr
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql.psycopg import dialect as postgres_dialect

from ...errors import StoreError
from ...postgres import SCHEMA, PostgresDatabase
from ...sealing import Seal
from .poll import Poll
from .sql_rows import HALF, observation_row
from .sql_store import SqlSimilarStore
from .sql_tables import OBSERVATIONS, QUESTIONS, Halfvec, tables
from .store import Observation

_SENT = np.dtype(">f2")
_SENT_HEADER = 4  # two 16-bit numbers before the elements: how many, and one that is unused
_MOST_INDEXED = 4000  # dimensions that pgvector's HNSW takes of a halfvec
_FROM_TEXT: dict[str, sa.types.TypeEngine[Any]] = {"tags": JSONB(), "vector": Halfvec()}
_DIALECT: sa.Dialect = postgres_dialect()  # type: ignore[no-untyped-call]  # of SQLAlchemy's
_INDEX_LOCK = 0x7469_6572_686E_7377


class PostgresSimilarStore(SqlSimilarStore):
    """A SimilarStore in PostgreSQL with pgvector; opened on first use.

    `url`: see PostgresDatabase. `poll_s`: how old `version` may be; own writes count at once.
    Each dimension has an index of its own, made when the nearest are first sought: it makes writing
    slower by 10 ms.
    """

    def __init__(self, url: SecretStr, *, seal: Seal | None = None, poll_s: float = 0.5) -> None:
        shape = tables(SCHEMA)
        database = PostgresDatabase("similar cache", url, shape.metadata, prepare=_need_pgvector)
        super().__init__(database, seal)
        self._indexed: set[int] = set()
        self._written = 0
        self._poll = Poll(self._last_numbers, every_s=poll_s)
        self._add_sql = self._append_sql(shape.questions, returning="id")
        self._observe_sql = self._append_sql(shape.observations, returning="seq")

    def observe(self, observation: Observation) -> int:
        """See SimilarStore. Numbers count within the scope."""
        values = _with_turn(OBSERVATIONS, observation.scope, observation_row(observation))
        found = self._database.use(
            lambda connection: connection.execute(self._observe_sql, values).fetchone()
        )
        self._written += 1
        return int(found[0])

    def nearest(
        self, partition: str, vector: NDArray[np.float32], k: int
    ) -> Sequence[tuple[int, float]]:
        """Return ids and cosine similarities of the nearest, nearest first.

        By an HNSW index, or by looking at all where the server takes that to be faster.
        """
        dims = len(vector)
        columns = self._tables.questions.c
        number: sa.types.TypeEngine[float] = sa.Double()
        asked = _typed(sa.literal(_as_text(vector), sa.String), dims)
        distance = _typed(columns.vector, dims).op("<=>", return_type=number)(asked)
        query = (
            sa.select(columns.id, (1 - distance).label("cosine"))
            # As a constant: only then is it the index's own condition.
            .where(columns.partition == partition, columns.dims == sa.literal_column(str(dims)))
            .where(columns.ask.is_not(None))
            .order_by(distance)
            .limit(k)
        )
        self._index(dims)
        with self._database.connection() as connection:
            # It looks on when what it found is of other partitions.
            connection.execute(sa.text("SET LOCAL hnsw.iterative_scan = strict_order"))
            return [(row.id, float(row.cosine)) for row in connection.execute(query)]

    def version(self) -> int | None:
        """Return a number that differs when anyone may have written, at the latest `poll_s` ago.

        None while the server does not answer. A thread asks: this costs no round trip.
        """
        polled = self._poll.read()
        return None if polled is None else polled + self._written

    def close(self) -> None:
        """Close the connections and end the thread; the next call opens them again."""
        self._poll.close()
        self._indexed.clear()
        super().close()

    def _remove(self, *conditions: sa.ColumnElement[bool]) -> int:
        try:
            return super()._remove(*conditions)
        finally:
            self._written += 1

    def _add(self, row: Mapping[str, Any]) -> int | None:
        from psycopg.errors import UniqueViolation  # noqa: PLC0415  # an extra

        values = _with_turn(QUESTIONS, row["partition"], row)

        def write(connection: Any) -> int | None:
            try:
                return int(connection.execute(self._add_sql, values).fetchone()[0])
            except UniqueViolation:
                return None

        added = self._database.use(write)
        self._written += 1
        return added

    def _add_with(self, connection: sa.Connection, row: Mapping[str, Any]) -> int:
        values = _with_turn(QUESTIONS, row["partition"], row)
        return int(connection.exec_driver_sql(self._add_sql, values).scalar_one())

    def _append_sql(self, table: sa.Table, *, returning: str) -> str:
        """Return what numbers a line and writes it: one round trip, and no lock left behind."""
        turn = self._turn().cte("turn")
        given = [column for column in table.c if column.name not in {"id", "seq"}]
        line = sa.select(turn.c.last, *(_value(column) for column in given))
        insert = sa.insert(table).from_select(["seq", *(c.name for c in given)], line)
        return str(insert.returning(table.c[returning]).compile(dialect=_DIALECT))

    def _last_numbers(self) -> int:
        # Every commit of a line raises one of them, so equal sums are equal logs.
        query = sa.select(sa.func.coalesce(sa.func.sum(self._tables.logs.c.last), 0))
        with self._database.connection() as connection:
            return int(connection.execute(query).scalar_one())

    def _index(self, dims: int) -> None:
        if dims in self._indexed or dims > _MOST_INDEXED:
            return
        name = f"questions_v1_hnsw_{dims}"
        with self._database.connection() as connection:
            there = sa.select(sa.func.to_regclass(f"{SCHEMA}.{name}"))
            # Looking first: making one, even in vain, waits for all writers and stops them.
            if connection.execute(there).scalar() is None:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_INDEX_LOCK)))
                connection.execute(
                    sa.text(
                        f"CREATE INDEX IF NOT EXISTS {name} ON {SCHEMA}.questions_v1 USING hnsw"
                        f" ((vector::halfvec({dims})) halfvec_cosine_ops) WHERE dims = {dims}"
                    )
                )
        self._indexed.add(dims)

    def _has_tag(self, tag: str) -> sa.ColumnElement[bool]:
        return sa.cast(self._tables.questions.c.tags, JSONB).contains([tag])

    def _read(self, column: sa.Column[Any]) -> sa.ColumnElement[Any]:
        if column.name == "vector":
            return sa.func.halfvec_send(column, type_=sa.LargeBinary())
        return sa.cast(column, sa.Text) if column.name == "tags" else column

    def _half(self, kept: bytes) -> bytes:
        return np.frombuffer(kept, _SENT, offset=_SENT_HEADER).astype(HALF).tobytes()


def _need_pgvector(connection: sa.Connection) -> None:
    known = sa.text("SELECT extname FROM pg_extension WHERE extname = 'vector'")
    if connection.execute(known).first() is not None:
        return
    offered = sa.text("SELECT name FROM pg_available_extensions WHERE name = 'vector'")
    if connection.execute(offered).first() is None:
        raise StoreError(
            "The PostgreSQL server of TIERFLOW_STORE_URL has no pgvector, which the similar cache "
            "needs. Install pgvector 0.8 or newer there."
        )
    connection.execute(sa.text("CREATE EXTENSION IF NOT EXISTS vector"))


def _value(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    if column.name in _FROM_TEXT:
        return sa.cast(sa.bindparam(column.name, type_=sa.String), _FROM_TEXT[column.name])
    return sa.bindparam(column.name, type_=column.type)


def _with_turn(kind: str, name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    values = {**row, "log_kind": kind, "log_name": name, "lines": 1, "live": 1}
    if "vector" in row:
        values["vector"] = _as_text(row["vector"])
    return values


def _as_text(vector: NDArray[np.floating[Any]]) -> str:
    return f"[{','.join(map(str, vector.tolist()))}]"


def _typed(vector: sa.ColumnElement[Any], dims: int) -> sa.ColumnElement[Any]:
    return sa.cast(vector, Halfvec(dims))
