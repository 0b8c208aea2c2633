"""SQL shared: breakers and buckets in SQLite, for one machine, or in PostgreSQL, for many.

Each change is a compare-and-set on a version, so no transaction is held while it is worked out.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from pydantic import SecretStr

from ...database import Database, SqliteDatabase
from ...errors import StoreError
from ...postgres import SCHEMA, PostgresDatabase
from .breaker import Breaker
from .buckets import Level
from .shared import ChangeBreaker, ChangeLevel

T = TypeVar("T", Breaker, Level)

_TYPES: Mapping[Any, Any] = {
    int: sa.BigInteger,
    float: sa.Double,
    bool: sa.Boolean,
    str: sa.String,
}
_TRIES = 100


def _columns(kind: type[Breaker | Level]) -> list[sa.Column[Any]]:
    return [sa.Column(each.name, _TYPES[each.type], nullable=False) for each in fields(kind)]


def _tables(schema: str | None) -> sa.MetaData:
    tables = sa.MetaData(schema=schema)
    for name, kind in (("breakers_v1", Breaker), ("buckets_v1", Level)):
        sa.Table(
            name,
            tables,
            sa.Column("name", sa.String, primary_key=True),
            sa.Column("version", sa.BigInteger, nullable=False),
            *_columns(kind),
            # Not logged, so not flushed: a server that crashed may forget who was failing.
            prefixes=["UNLOGGED"] if schema else [],
        )
    return tables


@dataclass(frozen=True, slots=True)
class _Statements(Generic[T]):
    """The SQL of one table. `now`: an expression for the server's time, or a mark for ours."""

    kind: type[T]
    table: str
    mark: str
    now: str

    @property
    def columns(self) -> str:
        return ", ".join(field.name for field in fields(self.kind))

    @property
    def all(self) -> str:
        return f"SELECT {self.now}, name, {self.columns} FROM {self.table}"  # noqa: S608  # constants

    @property
    def one(self) -> str:
        return (
            f"SELECT {self.now}, version, {self.columns} FROM (SELECT 1) AS one"  # noqa: S608  # constants
            f" LEFT JOIN {self.table} ON name = {self.mark}"
        )

    @property
    def put(self) -> str:
        """Insert, or update the version before."""
        columns = f"version, {self.columns}"
        marks = ", ".join([self.mark] * (2 + len(fields(self.kind))))
        sets = ", ".join(f"{name} = excluded.{name}" for name in columns.split(", "))
        return (
            f"INSERT INTO {self.table} AS kept (name, {columns}) VALUES ({marks})"  # noqa: S608  # constants
            f" ON CONFLICT (name) DO UPDATE SET {sets} WHERE kept.version = excluded.version - 1"
        )

    def read(self, row: Sequence[Any]) -> T:
        """Return a row's state; what cannot be read counts as none."""
        values: list[Any] = []
        try:
            for field, value in zip(fields(self.kind), row, strict=True):
                of: Any = field.type
                values.append(of(value))
        except (TypeError, ValueError):
            return self.kind()
        return self.kind(*values)


class SqlShared:
    """SharedStates in a SQLite file, or in PostgreSQL; opened on first use.

    `place`: the file's path, or the URL (see PostgresDatabase). `clock`: seconds since 1970, for
    the file; PostgreSQL goes by its own.
    """

    def __init__(self, place: Path | SecretStr, clock: Callable[[], float] = time.time) -> None:
        self._database: Database
        self._path: Path | None = None
        if isinstance(place, Path):
            self._path = place
            self._database = SqliteDatabase("file of breakers", place, _tables(None))
            prefix, mark, now = "", "?", "?"
        else:
            self._database = PostgresDatabase("table of breakers", place, _tables(SCHEMA))
            prefix, mark = f"{SCHEMA}.", "%s"
            now = "extract(epoch FROM clock_timestamp())::float8"
        self._breakers = _Statements(Breaker, f"{prefix}breakers_v1", mark, now)
        self._levels = _Statements(Level, f"{prefix}buckets_v1", mark, now)
        self._clock = clock

    def read(self) -> tuple[float, Mapping[str, Breaker]]:
        """See SharedStates. Makes no file where there is none."""
        if self._path is not None and not self._path.exists():
            return self._clock(), {}
        sql, now = self._breakers, self._now()
        rows = self._database.use(lambda to: to.execute(sql.all, now).fetchall(), again=True)
        at = float(rows[0][0]) if rows else self._clock()
        return at, {str(name): sql.read(state) for _, name, *state in rows}

    def change_breaker(self, name: str, change: ChangeBreaker) -> tuple[float, Breaker]:
        """See SharedStates."""
        return self._change(self._breakers, name, change)

    def change_level(self, name: str, change: ChangeLevel) -> tuple[float, Level]:
        """See SharedStates."""
        return self._change(self._levels, name, change)

    def close(self) -> None:
        """See SharedStates."""
        self._database.close()

    def _change(
        self, sql: _Statements[T], name: str, change: Callable[[T, float], T]
    ) -> tuple[float, T]:
        def attempt(to: Any) -> tuple[float, T] | None:
            row = to.execute(sql.one, (*self._now(), name)).fetchone()
            now, version, *state = row
            before = sql.kind() if version is None else sql.read(state)
            after: T = change(before, float(now))
            if after == before:
                return float(now), before
            values = (name, (version or 0) + 1, *astuple(after))
            return (float(now), after) if to.execute(sql.put, values).rowcount == 1 else None

        for _ in range(_TRIES):
            if (changed := self._database.use(attempt, again=True)) is not None:
                return changed
        raise StoreError(
            f"The {self._database.name} changed {_TRIES} times while {name} was to be changed. "
            "Lower the number of workers, or give each deployment a greater rpm and tpm."
        )

    def _now(self) -> tuple[float, ...]:
        return () if self._path is None else (self._clock(),)
