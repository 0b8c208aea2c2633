"""Policy store: serving policies in SQLite or PostgreSQL. The newest of a pool holds."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import sqlalchemy as sa
from pydantic import SecretStr

from ...database import Database, SqliteDatabase
from ...postgres import SCHEMA, PostgresDatabase
from .policy import Policy

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


@cache
def _table(schema: str | None) -> sa.Table:
    # A new column makes a new table: rows of older versions stay where they are.
    return sa.Table(
        "serving_policies_v1",
        sa.MetaData(schema=schema),
        sa.Column("id", _ID, primary_key=True),
        sa.Column("pool", sa.String, nullable=False, index=True),
        # Without a body what was decided is dropped.
        sa.Column("body", sa.Text),
    )


class SqlPolicies:
    """Policies in a SQLite file, or in PostgreSQL; opened on first use. Methods raise StoreError.

    `place`: the file's path, or the URL (see PostgresDatabase).
    """

    def __init__(self, place: Path | SecretStr) -> None:
        self._path = place if isinstance(place, Path) else None
        self._table = _table(None if isinstance(place, Path) else SCHEMA)
        self._database: Database
        if isinstance(place, Path):
            self._database = SqliteDatabase("policy store", place, self._table.metadata)
        else:
            self._database = PostgresDatabase("policy store", place, self._table.metadata)

    def newest(self, pool: str) -> Policy | None:
        """Return the policy of a pool, None without one. Makes no file where there is none."""
        if self._path is not None and not self._path.exists():
            return None
        columns = self._table.c
        query = sa.select(columns.body).where(columns.pool == pool).order_by(columns.id.desc())
        with self._database.connection() as connection:
            found: str | None = connection.execute(query.limit(1)).scalar()
        return None if found is None else Policy.from_json(found)

    def add(self, policy: Policy) -> None:
        """Keep a policy: from now on it is its pool's."""
        self._add(policy.pool, policy.to_json())

    def drop(self, pool: str) -> None:
        """Have a pool serve everything itself again."""
        self._add(pool, None)

    def pools(self) -> Sequence[str]:
        """Return the pools that anything was ever decided of."""
        if self._path is not None and not self._path.exists():
            return []
        with self._database.connection() as connection:
            return sorted(connection.execute(sa.select(self._table.c.pool).distinct()).scalars())

    def close(self) -> None:
        """Close file or connections; the next use opens them again."""
        self._database.close()

    def _add(self, pool: str, body: str | None) -> None:
        with self._database.connection() as connection:
            connection.execute(sa.insert(self._table).values(pool=pool, body=body))
