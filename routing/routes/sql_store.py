"""SQL route store: learned routes in SQLite or PostgreSQL, through SQLAlchemy Core."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import sqlalchemy as sa
from pydantic import SecretStr

from ...database import Database, SqliteDatabase
from ...postgres import SCHEMA, PostgresDatabase
from .learned import LearnedRoute

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


@cache
def _table(schema: str | None) -> sa.Table:
    # A new column makes a new table: rows of older versions stay where they are.
    return sa.Table(
        "learned_routes_v1",
        sa.MetaData(schema=schema),
        sa.Column("id", _ID, primary_key=True),
        sa.Column("step", sa.String, nullable=False, index=True),
        sa.Column("body", sa.Text, nullable=False),
    )


class SqlRoutes:
    """Learned routes in a SQLite file, or in PostgreSQL; opened on first use.

    `place`: the file's path, or the URL (see PostgresDatabase).
    """

    def __init__(self, place: Path | SecretStr) -> None:
        self._table = _table(None if isinstance(place, Path) else SCHEMA)
        self._database: Database
        if isinstance(place, Path):
            self._database = SqliteDatabase("route store", place, self._table.metadata)
        else:
            self._database = PostgresDatabase("route store", place, self._table.metadata)

    def newest_id(self, step: str) -> int | None:
        """See Routes."""
        columns = self._table.c
        query = sa.select(sa.func.max(columns.id)).where(columns.step == step)
        with self._database.connection() as connection:
            found: int | None = connection.execute(query).scalar()
        return found

    def newest(self, step: str) -> LearnedRoute | None:
        """See Routes."""
        columns = self._table.c
        query = sa.select(columns.body).where(columns.step == step).order_by(columns.id.desc())
        with self._database.connection() as connection:
            found: str | None = connection.execute(query.limit(1)).scalar()
        return None if found is None else LearnedRoute.from_json(found)

    def add(self, route: LearnedRoute) -> None:
        """See Routes."""
        row = {"step": route.step, "body": route.to_json()}
        with self._database.connection() as connection:
            connection.execute(sa.insert(self._table).values(row))

    def steps(self) -> Sequence[str]:
        """See Routes."""
        with self._database.connection() as connection:
            return sorted(connection.execute(sa.select(self._table.c.step).distinct()).scalars())

    def close(self) -> None:
        """See Routes."""
        self._database.close()
