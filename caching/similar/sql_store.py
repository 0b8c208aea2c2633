"""SQL store: questions and observations in a database. Here what all have in common, and SQLite.

It finds neighbours only by looking at all; the index in front of it reads `changes`.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.sql.dml import ReturningInsert

from ...database import Database, SqliteDatabase
from ..keys import Key
from ..sealing import Seal, WrongSealError
from ..store import Labels, Selection
from .sql_tables import OBSERVATIONS, QUESTIONS, Tables, tables
from .store import Asked, Change, Observation

_FEATURES = np.dtype("<f8")
_HALF = np.dtype("<f2")
_LOOK_AT_ONCE = 10_000
_OPEN, _SEALED = b"o", b"s"


class SqlSimilarStore(ABC):
    """A SimilarStore in a database, opened on first use. `seal`: encrypts the asks only."""

    def __init__(self, database: Database, seal: Seal | None = None) -> None:
        self._database = database
        self._tables: Tables = tables(database.schema)
        self._seal = seal

    @abstractmethod
    def add(self, asked: Asked) -> int:
        """Keep a question; it is durable when this returns. Return its id, which rises."""

    @abstractmethod
    def observe(self, observation: Observation) -> int:
        """Keep an observation. Return its number, which rises within its scope."""

    @abstractmethod
    def nearest(
        self, partition: str, vector: NDArray[np.float32], k: int
    ) -> Sequence[tuple[int, float]]:
        """Return ids and cosine similarities of the nearest, nearest first."""

    @abstractmethod
    def version(self) -> int | None:
        """Return a number that differs when anyone may have written; None if that is unknown."""

    def remove(self, id: int) -> bool:  # noqa: A002  # the contract's word
        """Remove a question, and its text and vector with it. Tell whether it was there."""
        questions = self._tables.questions
        return self._remove(questions.c.id == id) > 0

    def invalidate(self, which: Selection) -> int:
        """Remove the questions that fit a selection. Return how many went.

        Each partition for itself: when it fails in the middle, some are gone.
        """
        columns = self._tables.questions.c
        wanted = {columns.step: which.step, columns.prefix: which.prefix}
        wanted[columns.tenant] = which.tenant
        conditions = [column == text for column, text in wanted.items() if text is not None]
        if which.tag is not None:
            conditions.append(self._has_tag(which.tag))
        return self._remove(*conditions)

    def changes(self, partition: str, after: int, limit: int = 10_000) -> Sequence[Change]:
        """Return what changed in a partition after `seq`, in order. No committed line is missed.

        A question that is sealed with another key counts as removed.
        """
        columns = self._tables.questions.c
        names = ("seq", "id", "key", "ask", "value", "step", "tenant", "prefix", "tags")
        query = (
            sa.select(
                *(columns[name] for name in names),
                self._vector_bytes(),
            )
            .where(columns.partition == partition, columns.seq > after)
            .order_by(columns.seq)
            .limit(limit)
        )
        with self._database.connection() as connection:
            found: Sequence[Any] = connection.execute(query).all()
        changes: list[Change] = []
        for seq, id_, key, ask, value, step, tenant, prefix, tags, vector in found:
            asked = None
            if ask is not None and (text := self._opened(key, bytes(ask))) is not None:
                labels = Labels(step, tenant, prefix, tuple(tags))
                asked = Asked(partition, Key(key), text, self._vector(vector), value, labels)
            changes.append(Change(seq, id_, asked))
        return changes

    def observations(
        self, scope: str, after: int, limit: int = 10_000
    ) -> Sequence[tuple[int, Observation]]:
        """Return a scope's observations after a number, in order, with their numbers."""
        columns = self._tables.observations.c
        names = ("partition", "at", "score", "weight", "would_serve", "right", "source", "value")
        query = (
            sa.select(columns.seq, columns.features, *(columns[name] for name in names))
            .where(columns.scope == scope, columns.seq > after)
            .order_by(columns.seq)
            .limit(limit)
        )
        with self._database.connection() as connection:
            found: Sequence[Any] = connection.execute(query).all()
        return [
            (
                number,
                Observation(
                    scope=scope,
                    features=tuple(np.frombuffer(features, _FEATURES).tolist()),
                    **dict(zip(names, rest, strict=True)),
                ),
            )
            for number, features, *rest in found
        ]

    def partitions(self) -> dict[str, int]:
        """Count the questions per partition."""
        columns = self._tables.logs.c
        query = (
            sa.select(columns.name, columns.live)
            .where(columns.kind == QUESTIONS, columns.live > 0)
            .order_by(columns.name)
        )
        with self._database.connection() as connection:
            return {row.name: row.live for row in connection.execute(query)}

    def place(self, partition: str) -> tuple[str, Labels] | None:
        """Return the scope that a partition's observations teach, and its labels."""
        asked, seen = self._tables.questions.c, self._tables.observations.c
        labels = sa.select(asked.step, asked.tenant, asked.prefix, asked.tags).where(
            asked.partition == partition, asked.ask.is_not(None)
        )
        scope = sa.select(seen.scope).where(seen.partition == partition)
        with self._database.connection() as connection:
            found = connection.execute(labels.limit(1)).one_or_none()
            taught = connection.execute(scope.limit(1)).scalar()
        if found is None:
            return None
        step, tenant, prefix, tags = found
        return taught or "", Labels(step, tenant, prefix, tuple(tags))

    def close(self) -> None:
        """Close the connections; the next call opens them again."""
        self._database.close()

    @abstractmethod
    def _has_tag(self, tag: str) -> sa.ColumnElement[bool]: ...

    @abstractmethod
    def _vector_bytes(self) -> sa.ColumnElement[bytes]: ...

    @abstractmethod
    def _vector(self, kept: bytes) -> NDArray[np.float32]: ...

    def _sealed(self, asked: Asked) -> bytes:
        if self._seal is None:
            return _OPEN + asked.ask.encode()
        # With its key inside, it is of no use in another row.
        return _SEALED + self._seal.seal(f"{asked.key} {asked.ask}").encode()

    def _opened(self, key: str, kept: bytes) -> str | None:
        mark, text = kept[:1], kept[1:].decode()
        if self._seal is None:
            return text if mark == _OPEN else None
        if mark != _SEALED:
            return None
        try:
            whose, _, ask = self._seal.open(text).partition(" ")
        except WrongSealError:
            return None
        return ask if whose == key else None

    def _turn(self) -> ReturningInsert[Any]:
        """Return what numbers a log's next `lines` lines, and holds the log until the commit.

        `live`: how many more of its lines are live then.
        """
        logs = self._tables.logs
        insert = postgres_insert if self._database.schema else sqlite_insert
        lines, live = (sa.bindparam(name, type_=sa.BigInteger) for name in ("lines", "live"))
        first = insert(logs).values(
            kind=sa.bindparam("log_kind", type_=sa.String),
            name=sa.bindparam("log_name", type_=sa.String),
            last=lines,
            live=live,
        )
        return first.on_conflict_do_update(
            index_elements=[logs.c.kind, logs.c.name],
            set_={"last": logs.c.last + lines, "live": logs.c.live + live},
        ).returning(logs.c.last)

    def _remove(self, *conditions: sa.ColumnElement[bool]) -> int:
        questions = self._tables.questions
        live = questions.c.ask.is_not(None)
        where = sa.select(questions.c.partition).where(live, *conditions).distinct()
        with self._database.connection() as connection:
            partitions = list(connection.execute(where).scalars())
        return sum(self._remove_in(partition, live, *conditions) for partition in partitions)

    def _remove_in(self, partition: str, *conditions: sa.ColumnElement[bool]) -> int:
        questions = self._tables.questions
        log = {"log_kind": QUESTIONS, "log_name": partition}
        order = sa.func.row_number().over(order_by=questions.c.id).label("place")
        going = (
            sa.select(questions.c.id, order)
            .where(questions.c.partition == partition, *conditions)
            .subquery("going")
        )
        with self._database.connection() as connection:
            # The log is held first: whoever comes next sees these lines before its own.
            last = connection.execute(self._turn(), log | {"lines": 0, "live": 0}).scalar_one()
            # The text and vector are somebody's words. Each line has a number of its own.
            gone = connection.execute(
                sa.update(questions)
                .where(questions.c.id == going.c.id)
                .values(ask=None, vector=None, tags=[], seq=last + going.c.place)
            ).rowcount
            connection.execute(self._turn(), log | {"lines": gone, "live": -gone})
            return gone

    def _question(self, asked: Asked) -> dict[str, Any]:
        labels = asked.labels
        return {
            "partition": asked.partition,
            "key": asked.key,
            "value": asked.value,
            "step": labels.step,
            "tenant": labels.tenant,
            "prefix": labels.prefix,
            "tags": labels.tags,
            "dims": len(asked.vector),
            "ask": self._sealed(asked),
            "vector": asked.vector,
        }


def observation_row(observation: Observation) -> dict[str, Any]:
    """Return an observation as columns, all but its number."""
    return {
        "scope": observation.scope,
        "partition": observation.partition,
        "at": observation.at,
        "features": np.asarray(observation.features, _FEATURES).tobytes(),
        "score": observation.score,
        "weight": observation.weight,
        "would_serve": observation.would_serve,
        "right": observation.right,
        "source": observation.source,
        "value": observation.value,
    }


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

    def add(self, asked: Asked) -> int:
        """See SimilarStore."""
        row = self._question(asked)
        row["vector"] = asked.vector.astype(_HALF).tobytes()
        row["tags"] = json.dumps(asked.labels.tags)
        return self._append(QUESTIONS, asked.partition, self._add_sql, row)[1]

    def observe(self, observation: Observation) -> int:
        """See SimilarStore. Numbers count within the scope."""
        row = observation_row(observation)
        return self._append(OBSERVATIONS, observation.scope, self._observe_sql, row)[0]

    def nearest(
        self, partition: str, vector: NDArray[np.float32], k: int
    ) -> Sequence[tuple[int, float]]:
        """Return ids and cosine similarities of the nearest, nearest first; looks at all."""
        columns = self._tables.questions.c
        query = sa.select(columns.id, columns.vector).where(
            columns.partition == partition,
            columns.ask.is_not(None),
            columns.dims == len(vector),
        )
        best: list[tuple[int, float]] = []
        with self._database.connection() as connection:
            parts: Iterator[Sequence[Any]] = connection.execute(query).partitions(_LOOK_AT_ONCE)
            for part in parts:
                kept = np.frombuffer(b"".join(row.vector for row in part), _HALF)
                cosines = kept.reshape(len(part), -1).astype(np.float32) @ vector
                first = np.argsort(-cosines)[:k]
                best += [(part[place].id, float(cosines[place])) for place in first]
        return sorted(best, key=lambda found: -found[1])[:k]

    def version(self) -> int:
        """See SimilarStore."""
        return self._database.version()

    def _append(self, kind: str, name: str, insert: str, row: Mapping[str, Any]) -> tuple[int, int]:
        log = {"log_kind": kind, "log_name": name, "lines": 1, "live": 1}
        turn = [log[each] for each in self._turn_names]

        def write(connection: Any) -> tuple[int, int]:
            ((seq,),) = connection.execute(self._turn_sql, turn).fetchall()
            return seq, connection.execute(insert, {"seq": seq, **row}).lastrowid

        return self._database.use(write)

    def _has_tag(self, tag: str) -> sa.ColumnElement[bool]:
        each = sa.func.json_each(self._tables.questions.c.tags).table_valued("value")
        return sa.exists().where(each.c.value == tag)

    def _vector_bytes(self) -> sa.ColumnElement[bytes]:
        return self._tables.questions.c.vector

    def _vector(self, kept: bytes) -> NDArray[np.float32]:
        return np.frombuffer(kept, _HALF).astype(np.float32)


def _insert(table: sa.Table, *, without: str = "") -> str:
    columns = [column.name for column in table.columns if column.name != without]
    dialect = sqlite_dialect(paramstyle="named")
    return str(sa.insert(table).compile(dialect=dialect, column_keys=columns))
