"""SQL ledger: the ledger in SQLite or PostgreSQL, through SQLAlchemy Core. Opened on first use."""

from collections.abc import Sequence
from dataclasses import Field, fields
from functools import cache
from operator import attrgetter
from pathlib import Path
from types import UnionType
from typing import Any, get_args

import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import psycopg

from ..database import Database, SqliteDatabase
from ..postgres import SCHEMA, PostgresDatabase
from .ledger import Row

_TYPES: dict[Any, type[Any]] = {str: sa.String, int: sa.BigInteger, float: sa.Double}
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_COLUMNS = tuple(field.name for field in fields(Row))
_values = attrgetter(*_COLUMNS)


def _column(field: Field[Any]) -> sa.Column[Any]:
    optional = isinstance(field.type, UnionType)
    kind = get_args(field.type)[0] if optional else field.type
    return sa.Column(field.name, _TYPES[kind], nullable=optional, index=field.name == "flow_run_id")


@cache
def _table(schema: str | None) -> sa.Table:
    # A new column makes a new table: rows of older versions stay where they are.
    return sa.Table(
        "answers_v2",
        sa.MetaData(schema=schema),
        sa.Column("id", _ID, primary_key=True),
        *(_column(field) for field in fields(Row)),
    )


class SqlLedger:
    """A ledger in a SQLite file, or in PostgreSQL; opened on first use.

    `place`: the file's path, or the URL (see PostgresDatabase).
    """

    def __init__(self, place: Path | SecretStr) -> None:
        self._table = _table(None if isinstance(place, Path) else SCHEMA)
        self._database: Database
        if isinstance(place, Path):
            self._database = SqliteDatabase("ledger", place, self._table.metadata)
            dialect: sa.Dialect = sqlite.dialect()
        else:
            self._database = PostgresDatabase("ledger", place, self._table.metadata)
            dialect = psycopg.dialect(paramstyle="format")  # type: ignore[no-untyped-call]  # of SQLAlchemy's
        insert = sa.insert(self._table).inline()
        self._insert = str(insert.compile(dialect=dialect, column_keys=_COLUMNS))

    def add(self, row: Row) -> None:
        """Keep one row; it is durable when this returns."""
        # Straight to the driver: SQLAlchemy's own way there takes longer than the write, and every
        # step comes through here.
        self._database.use(lambda connection: connection.execute(self._insert, _values(row)))

    def of_flow_run(self, flow_run_id: str) -> Sequence[Row]:
        """Return the rows of one flow run, oldest first."""
        columns = self._table.c
        query = (
            sa.select(*(columns[name] for name in _COLUMNS))
            .where(columns.flow_run_id == flow_run_id)
            .order_by(columns.id)
        )
        with self._database.connection() as connection:
            return [Row(**found) for found in connection.execute(query).mappings()]

    def last_flow_run(self) -> str | None:
        """Return the id of the flow run that wrote last."""
        columns = self._table.c
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
        """Close the connections; the next call opens them again."""
        self._database.close()
