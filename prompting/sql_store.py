"""SQL prompt store: versions and aliases in SQLite or PostgreSQL, through SQLAlchemy Core."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from ..database import Database, SqliteDatabase
from ..errors import PromptError, StoreError
from ..postgres import SCHEMA, PostgresDatabase
from .files import in_order
from .store import Move
from .text import PromptText

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


@dataclass(frozen=True, slots=True)
class _Tables:
    """A new column makes a new table: rows of older versions stay where they are."""

    metadata: sa.MetaData
    versions: sa.Table
    moves: sa.Table


@cache
def _tables(schema: str | None) -> _Tables:
    metadata = sa.MetaData(schema=schema)
    versions = sa.Table(
        "prompt_versions_v1",
        metadata,
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("version", sa.String, primary_key=True),
        sa.Column("hash", sa.String, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("who", sa.String, nullable=False),
    )
    moves = sa.Table(
        "prompt_aliases_v1",
        metadata,
        sa.Column("id", _ID, primary_key=True),
        sa.Column("name", sa.String, nullable=False, index=True),
        sa.Column("alias", sa.String, nullable=False),
        sa.Column("version", sa.String),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("who", sa.String, nullable=False),
        sa.Column("why", sa.String, nullable=False),
    )
    return _Tables(metadata, versions, moves)


class SqlPrompts:
    """Prompts in a SQLite file, or in PostgreSQL; opened on first use.

    `place`: the file's path, or the URL (see PostgresDatabase).
    """

    def __init__(self, place: Path | SecretStr) -> None:
        tables = _tables(None if isinstance(place, Path) else SCHEMA)
        self._versions, self._moves = tables.versions, tables.moves
        self._file = place if isinstance(place, Path) else None
        self._database: Database
        if isinstance(place, Path):
            self._database = SqliteDatabase("prompt store", place, tables.metadata)
            self._insert: Any = sqlite_insert
        else:
            self._database = PostgresDatabase("prompt store", place, tables.metadata)
            self._insert = postgres_insert

    @property
    def shown(self) -> str:
        """The file's path, or the server without its password."""
        return self._database.shown

    def publish(self, name: str, version: str, text: PromptText, *, at: float, who: str) -> bool:
        """See PromptStore."""
        columns = self._versions.c
        row = {"name": name, "version": version, "hash": text.hash, "body": text.to_toml()}
        new = self._insert(self._versions).values(**row, at=at, who=who)
        new = new.on_conflict_do_nothing().returning(columns.hash)
        query = sa.select(columns.hash, columns.who).where(
            columns.name == name, columns.version == version
        )
        with self._database.connection() as connection:
            is_new = connection.execute(new).first() is not None
            kept = connection.execute(query).one()
        if kept.hash != text.hash:
            raise PromptError(
                f"Version {version!r} of prompt {name!r} was published with another content "
                f"({kept.hash[:12]}, by {kept.who}; this is {text.hash[:12]}), and a version never "
                "changes. Give the new content a new version."
            )
        return is_new

    def text(self, name: str, version: str) -> PromptText | None:
        """See PromptStore."""
        columns = self._versions.c
        query = sa.select(columns.body, columns.hash).where(
            columns.name == name, columns.version == version
        )
        return next((self._read(row, name, version) for row in self._rows(query)), None)

    def names(self) -> Sequence[str]:
        """See PromptStore."""
        query = sa.union(sa.select(self._versions.c.name), sa.select(self._moves.c.name))
        return sorted(row.name for row in self._rows(query))

    def versions(self, name: str) -> Sequence[str]:
        """See PromptStore."""
        columns = self._versions.c
        query = sa.select(columns.version).where(columns.name == name)
        return in_order([row.version for row in self._rows(query)])

    def move(self, name: str, move: Move) -> None:
        """See PromptStore."""
        with self._database.connection() as connection:
            connection.execute(sa.insert(self._moves).values(name=name, **asdict(move)))

    def aliases(self, name: str) -> Mapping[str, str]:
        """See PromptStore."""
        columns = self._moves.c
        last = sa.select(sa.func.max(columns.id)).where(columns.name == name)
        query = sa.select(columns.alias, columns.version).where(
            columns.id.in_(last.group_by(columns.alias)), columns.version.is_not(None)
        )
        return {row.alias: row.version for row in self._rows(query)}

    def history(self, name: str) -> Sequence[Move]:
        """See PromptStore."""
        columns = self._moves.c
        query = (
            sa.select(columns.alias, columns.version, columns.at, columns.who, columns.why)
            .where(columns.name == name)
            .order_by(columns.id)
        )
        return [Move(*row) for row in self._rows(query)]

    def close(self) -> None:
        """See PromptStore."""
        self._database.close()

    def _rows(self, query: sa.Executable) -> Sequence[Any]:
        # Whoever has their prompts in files alone gets no empty store beside them.
        if self._file is not None and not self._file.exists():
            return ()
        with self._database.connection() as connection:
            return connection.execute(query).all()

    def _read(self, row: Any, name: str, version: str) -> PromptText:
        try:
            text = PromptText.from_toml(row.body, "the row")
        except PromptError:
            text = None
        if text is None or text.hash != row.hash:
            raise StoreError(
                f"Version {version!r} of prompt {name!r} in {self.shown} cannot be read: it is "
                "damaged or of another version of tierflow. Publish its content as a new version."
            )
        return text
