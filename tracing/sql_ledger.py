"""SQL ledger: the ledger in SQLite or PostgreSQL, through SQLAlchemy Core. Opened on first use."""

from collections.abc import Sequence
from dataclasses import Field, dataclass, fields
from functools import cache
from operator import attrgetter
from pathlib import Path
from types import UnionType
from typing import Any, Generic, TypeVar, get_args

import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import psycopg

from ..database import Database, SqliteDatabase
from ..postgres import SCHEMA, PostgresDatabase
from .ledger import Call, Row

_TYPES: dict[Any, type[Any]] = {
    bool: sa.Boolean,
    float: sa.Double,
    int: sa.BigInteger,
    str: sa.String,
}
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_INDEXED = {"flow_run_id", "ref"}

T = TypeVar("T", Row, Call)


class _Kept(Generic[T]):
    """A table whose columns are the fields of a value."""

    def __init__(self, kind: type[T], name: str, metadata: sa.MetaData) -> None:
        self.names = tuple(field.name for field in fields(kind))
        self.values = attrgetter(*self.names)
        # A new column makes a new table: rows of older versions stay where they are.
        self.table = sa.Table(
            name,
            metadata,
            sa.Column("id", _ID, primary_key=True),
            *(_column(field) for field in fields(kind)),
        )

    @property
    def columns(self) -> list[sa.Column[Any]]:
        return [self.table.c[name] for name in self.names]

    def insert(self, dialect: sa.Dialect) -> str:
        """Return the driver's own text of an insert."""
        insert = sa.insert(self.table).inline()
        return str(insert.compile(dialect=dialect, column_keys=self.names))


def _column(field: Field[Any]) -> sa.Column[Any]:
    optional = isinstance(field.type, UnionType)
    kind = get_args(field.type)[0] if optional else field.type
    return sa.Column(field.name, _TYPES[kind], nullable=optional, index=field.name in _INDEXED)


@dataclass(frozen=True, slots=True)
class _Tables:
    metadata: sa.MetaData
    answers: _Kept[Row]
    calls: _Kept[Call]


@cache
def _tables(schema: str | None) -> _Tables:
    metadata = sa.MetaData(schema=schema)
    answers = _Kept(Row, "answers_v4", metadata)
    return _Tables(metadata, answers, _Kept(Call, "calls_v1", metadata))


class SqlLedger:
    """A ledger in a SQLite file, or in PostgreSQL; opened on first use.

    `place`: the file's path, or the URL (see PostgresDatabase).
    """

    def __init__(self, place: Path | SecretStr) -> None:
        tables = _tables(None if isinstance(place, Path) else SCHEMA)
        self._answers, self._calls = tables.answers, tables.calls
        self._database: Database
        if isinstance(place, Path):
            self._database = SqliteDatabase("ledger", place, tables.metadata)
            dialect: sa.Dialect = sqlite.dialect()
        else:
            self._database = PostgresDatabase("ledger", place, tables.metadata)
            dialect = psycopg.dialect(paramstyle="format")  # type: ignore[no-untyped-call]  # of SQLAlchemy's
        self._add_answer = self._answers.insert(dialect)
        self._add_call = self._calls.insert(dialect)

    def add(self, row: Row, calls: Sequence[Call] = ()) -> None:
        """See Ledger."""

        # Straight to the driver: SQLAlchemy's own way there takes longer than the write, and every
        # step comes through here. The row comes last: no call is missing from a step that is there.
        def write(connection: Any) -> None:
            for call in calls:
                connection.execute(self._add_call, self._calls.values(call))
            connection.execute(self._add_answer, self._answers.values(row))

        self._database.use(write)

    def of_flow_run(self, flow_run_id: str) -> Sequence[Row]:
        """See Ledger."""
        columns = self._answers.table.c
        query = (
            sa.select(*self._answers.columns)
            .where(columns.flow_run_id == flow_run_id)
            .order_by(columns.id)
        )
        with self._database.connection() as connection:
            return [Row(**found) for found in connection.execute(query).mappings()]

    def calls_of_flow_run(self, flow_run_id: str) -> Sequence[Call]:
        """See Ledger."""
        answers, calls = self._answers.table.c, self._calls.table.c
        refs = sa.select(answers.ref).where(answers.flow_run_id == flow_run_id)
        query = sa.select(*self._calls.columns).where(calls.ref.in_(refs)).order_by(calls.id)
        with self._database.connection() as connection:
            return [Call(**found) for found in connection.execute(query).mappings()]

    def find(self, ref: str) -> Row | None:
        """See Ledger."""
        query = sa.select(*self._answers.columns).where(self._answers.table.c.ref == ref)
        with self._database.connection() as connection:
            found = connection.execute(query).mappings().first()
        return None if found is None else Row(**found)

    def last_flow_run(self) -> str | None:
        """See Ledger."""
        columns = self._answers.table.c
        query = (
            sa.select(columns.flow_run_id)
            .where(columns.flow_run_id.is_not(None))
            .order_by(columns.id.desc())
            .limit(1)
        )
        with self._database.connection() as connection:
            found: str | None = connection.execute(query).scalar()
            return found

    def close(self) -> None:
        """See Ledger."""
        self._database.close()
