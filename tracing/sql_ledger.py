"""SQL ledger: the ledger in SQLite, through SQLAlchemy Core. Opened on first use."""

import sqlite3
import threading
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import Field, fields
from operator import attrgetter
from pathlib import Path
from types import UnionType
from typing import Any, get_args

import sqlalchemy as sa
from filelock import FileLock
from sqlalchemy.dialects import sqlite
from sqlalchemy.event import listen
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateIndex, CreateTable

from ..errors import StoreError
from .ledger import Row

_TYPES: dict[Any, type[Any]] = {str: sa.String, int: sa.Integer, float: sa.Float}


def _column(field: Field[Any]) -> sa.Column[Any]:
    optional = isinstance(field.type, UnionType)
    kind = get_args(field.type)[0] if optional else field.type
    return sa.Column(field.name, _TYPES[kind], nullable=optional, index=field.name == "flow_run_id")


_COLUMNS = tuple(field.name for field in fields(Row))
_METADATA = sa.MetaData()
# A new column makes a new table: rows of older versions stay where they are.
_ANSWERS = sa.Table(
    "answers_v1",
    _METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    *(_column(field) for field in fields(Row)),
)
# Workers start together: `create_all` looks first and creates then, so all but one would fail.
_CREATION: tuple[sa.Executable, ...] = (
    CreateTable(_ANSWERS, if_not_exists=True),
    *(CreateIndex(index, if_not_exists=True) for index in _ANSWERS.indexes),
)
_INSERT = str(sa.insert(_ANSWERS).compile(dialect=sqlite.dialect(), column_keys=_COLUMNS))
_values = attrgetter(*_COLUMNS)


class SqlLedger:
    """A ledger in a SQLite file; opened on first use."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._engine: sa.Engine | None = None
        self._opening = threading.Lock()

    def add(self, row: Row) -> None:
        """Keep one row; it is durable when this returns."""
        # Straight to the driver: SQLAlchemy's own way there takes longer than the write, and every
        # step comes through here.
        with self._errors(), closing(self._open().raw_connection()) as connection:
            connection.cursor().execute(_INSERT, _values(row))
            connection.commit()

    def of_flow_run(self, flow_run_id: str) -> Sequence[Row]:
        """Return the rows of one flow run, oldest first."""
        query = (
            sa.select(*(_ANSWERS.c[name] for name in _COLUMNS))
            .where(_ANSWERS.c.flow_run_id == flow_run_id)
            .order_by(_ANSWERS.c.id)
        )
        with self._connection() as connection:
            return [Row(**found) for found in connection.execute(query).mappings()]

    def last_flow_run(self) -> str | None:
        """Return the id of the flow run that wrote last."""
        query = (
            sa.select(_ANSWERS.c.flow_run_id)
            .where(_ANSWERS.c.flow_run_id.is_not(None))
            .order_by(_ANSWERS.c.id.desc())
            .limit(1)
        )
        with self._connection() as connection:
            found: str | None = connection.execute(query).scalar()
            return found

    def close(self) -> None:
        """Close the connections; the next call opens them again."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    @contextmanager
    def _connection(self) -> Generator[sa.Connection]:
        with self._errors(), self._open().begin() as connection:
            yield connection

    @contextmanager
    def _errors(self) -> Generator[None]:
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error, OSError) as exc:
            reason = getattr(exc, "orig", None) or exc
            raise StoreError(
                f"The ledger {self._path} cannot be used: {reason}. Free space or repair its "
                "rights; if it is damaged, move it away and a new one is made."
            ) from exc

    def _open(self) -> sa.Engine:
        with self._opening:
            if self._engine is None:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                engine = sa.create_engine(f"sqlite:///{self._path}", connect_args={"timeout": 30})
                listen(engine, "connect", _prepare)
                # Changing a new file to WAL fails at once where another process does the same.
                lock = FileLock(f"{self._path}.lock", timeout=30)
                with lock, engine.begin() as connection:
                    for statement in _CREATION:
                        connection.execute(statement)
                self._engine = engine
            return self._engine


def _prepare(connection: Any, _record: object) -> None:
    # Readers and writers of several processes do not block each other in WAL; NORMAL keeps every
    # committed row through a crash of the process.
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
