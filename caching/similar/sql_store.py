"""SQL store: questions and observations in a database. Here what all have in common.

It finds neighbours only by looking at all; the index in front of it reads `changes`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import uuid4

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.sql.dml import ReturningInsert

from ...database import Database
from ...sealing import Seal
from ..codec import UnreadableError
from ..sql_labels import conditions
from ..store import Labels, Selection
from .sql_faults import bytes_of, log_faults, row_faults
from .sql_rows import OBSERVATION, QUESTION, Rows, read_observation
from .sql_tables import OBSERVATIONS, QUESTIONS, Tables, tables
from .store import Asked, Change, Observation

_SOME = 20
_ASK = QUESTION.index("ask")


class SqlSimilarStore(ABC):
    """A SimilarStore in a database, opened on first use. `seal`: encrypts the asks only."""

    def __init__(self, database: Database, seal: Seal | None = None) -> None:
        self._database = database
        self._tables: Tables = tables(database.schema)
        self._rows = Rows(seal)
        self._identity: tuple[int, str] | None = None

    def identity(self) -> str:
        """Return what tells this database from any other; made when it is first asked for."""
        known, closings = self._identity, self._database.closings
        if known is not None and known[0] == closings:
            return known[1]
        store = self._tables.store
        insert = postgres_insert if self._database.schema else sqlite_insert
        with self._database.connection() as connection:
            kept = sa.select(self._read(store.c.identity))
            found = connection.execute(kept).scalar()
            if found is None:
                new = insert(store).values(id=1, identity=uuid4().bytes)
                connection.execute(new.on_conflict_do_nothing())
                found = connection.execute(kept).scalar_one()
        self._identity = closings, bytes(found).hex()
        return self._identity[1]

    def add(self, asked: Asked) -> int:
        """Keep a question; it is durable when this returns. Return its id, which rises."""
        row = self._rows.row(asked)
        added = self._add(row)
        if added is None:
            with self._database.connection() as connection:
                same_key = self._tables.questions.c.key == asked.key
                self._clear(connection, asked.partition, same_key)
                added = self._add_with(connection, row)
        return added

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
        return self._remove(*conditions(which, self._tables.questions, self._has_tag))

    def changes(self, partition: str, after: int, limit: int = 10_000) -> Sequence[Change]:
        """Return what changed in a partition after `seq`, in order. No committed line is missed."""
        columns = self._tables.questions.c
        query = (
            self._questions(columns.id, columns.seq)
            .where(columns.partition == partition, columns.seq > after)
            .where(columns.seq <= self._last(QUESTIONS, partition))
            .order_by(columns.seq)
            .limit(limit)
        )
        with self._database.connection() as connection:
            found: Sequence[Any] = connection.execute(query).all()
        changes: list[Change] = []
        for id_, seq, *row in found:
            asked = self._asked(row)
            if asked is not None and asked.partition != partition:
                asked = None  # the index says otherwise than the row: one of them is damaged
            changes.append(Change(seq, id_, asked))
        return changes

    def observations(
        self, scope: str, after: int, limit: int = 10_000
    ) -> Sequence[tuple[int, Observation]]:
        """Return a scope's observations after a number, in order, with their numbers."""
        seq = self._tables.observations.c.seq
        found: list[tuple[int, Observation]] = []
        while (wanted := limit - len(found)) > 0:
            lines = self._observed(scope, wanted, seq, seq > after)
            found += ((number, seen) for number, seen in lines if seen is not None)
            # Those that are damaged do not end the reading.
            if len(lines) < wanted:
                break
            after = lines[-1][0]
        return found

    def newest(self, scope: str, count: int) -> Sequence[tuple[int, Observation]]:
        """Return a scope's newest observations, at most `count`, oldest first."""
        order = self._tables.observations.c.seq.desc()
        lines = self._observed(scope, max(0, count), order)[::-1]
        return [(number, seen) for number, seen in lines if seen is not None]

    def partitions(self) -> dict[str, int]:
        """Count the questions per partition."""
        columns = self._tables.logs.c
        query = (
            sa.select(self._read(columns.name), self._read(columns.live))
            .where(columns.kind == QUESTIONS, columns.live > 0)
            .order_by(columns.name)
        )
        with self._database.connection() as connection:
            found: Sequence[Any] = connection.execute(query).all()
        return {bytes_of(name).decode(errors="replace"): live for name, live in found}

    def place(self, partition: str) -> tuple[str, Labels] | None:
        """Return the scope that a partition's observations teach, and its labels."""
        asked, seen = self._tables.questions.c, self._tables.observations.c
        live = self._questions().where(asked.partition == partition, asked.ask.is_not(None))
        checks = self._checks().where(seen.partition == partition)
        with self._database.connection() as connection:
            questions = map(self._asked, connection.execute(live.limit(_SOME)).all())
            observed = map(_seen, connection.execute(checks.limit(_SOME)).all())
        found = next((each.labels for each in questions if each is not None), None)
        scope = next((each.scope for each in observed if each is not None), "")
        return None if found is None else (scope, found)

    def faults(self) -> Iterator[str]:
        """Check all that is kept; yield a line for each fault: the file or server, and the row."""
        asked, seen = self._tables.questions.c, self._tables.observations.c
        live = self._questions(asked.id).where(asked.ask.is_not(None)).order_by(asked.id)
        checks = self._checks(seen.seq).order_by(seen.scope, seen.seq)
        with self._database.connection() as connection:
            for line in self._check(connection):
                yield f"{self._database.shown}: {line}"
            for line in row_faults(connection, live, self._question, checks, read_observation):
                yield f"{self._database.shown}: {line}"
            for line in log_faults(connection, self._tables, self._read):
                yield f"{self._database.shown}: {line}"

    def close(self) -> None:
        """Close the connections; the next call opens them again."""
        self._database.close()

    @abstractmethod
    def _has_tag(self, tag: str) -> sa.ColumnElement[bool]: ...

    @abstractmethod
    def _add(self, row: Mapping[str, Any]) -> int | None:
        """Add a row, fast. Return its id; None if there is one of its partition and key."""

    @abstractmethod
    def _add_with(self, connection: sa.Connection, row: Mapping[str, Any]) -> int:
        """Add a row within a transaction. Return its id."""

    @abstractmethod
    def _read(self, column: sa.Column[Any]) -> sa.ColumnElement[Any]:
        """Return how a column is read so that no value of it fails: text also as bytes."""

    @abstractmethod
    def _half(self, kept: bytes) -> bytes:
        """Return a vector's elements in HALF. Raises ValueError."""

    def _check(self, connection: sa.Connection) -> Iterable[str]:  # noqa: ARG002  # for SQLite
        """Return what the database itself finds damaged."""
        return ()

    def _questions(self, *first: sa.Column[Any]) -> sa.Select[Any]:
        """Select what `_question` takes, after other columns."""
        columns = self._tables.questions.c
        names = (*QUESTION, "vector")
        return sa.select(*map(self._read, first), *(self._read(columns[name]) for name in names))

    def _question(self, row: Sequence[Any]) -> Asked:
        *words, vector = row
        try:
            half = self._half(vector)
        except (ValueError, TypeError):
            half = b""
        return self._rows.question(words, half)

    def _asked(self, row: Sequence[Any]) -> Asked | None:
        try:
            return None if row[_ASK] is None else self._question(row)
        except UnreadableError:
            return None

    def _checks(self, *first: sa.Column[Any]) -> sa.Select[Any]:
        """Select what `read_observation` takes, after other columns."""
        columns = self._tables.observations.c
        rest = (self._read(columns[name]) for name in OBSERVATION)
        return sa.select(*map(self._read, first), *rest)

    def _observed(
        self,
        scope: str,
        limit: int,
        order: sa.ColumnElement[int],
        *conditions: sa.ColumnElement[bool],
    ) -> list[tuple[int, Observation | None]]:
        """Read some observations of a scope. None is one that is damaged."""
        columns = self._tables.observations.c
        query = (
            self._checks(columns.seq)
            .where(columns.scope == scope, columns.seq > 0, *conditions)
            .where(columns.seq <= self._last(OBSERVATIONS, scope))
            .order_by(order)
            .limit(limit)
        )
        with self._database.connection() as connection:
            found: Sequence[Any] = connection.execute(query).all()
        lines = [(number, _seen(row)) for number, *row in found]
        return [(number, seen if seen and seen.scope == scope else None) for number, seen in lines]

    def _last(self, kind: str, name: str) -> sa.ScalarSelect[int]:
        """Return a log's last number: a damaged one beyond it would hide all that comes."""
        logs = self._tables.logs.c
        return sa.select(logs.last).where(logs.kind == kind, logs.name == name).scalar_subquery()

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
        partition = self._read(questions.c.partition)
        where = sa.select(partition).where(live, *conditions).distinct()
        with self._database.connection() as connection:
            found = [bytes_of(name) for name in connection.execute(where).scalars()]
        removed = 0
        for name in found:
            with self._database.connection() as connection:
                # Nobody reads a partition whose name is damaged.
                removed += self._clear(connection, name.decode(errors="ignore"), *conditions)
        return removed

    def _clear(
        self, connection: sa.Connection, partition: str, *conditions: sa.ColumnElement[bool]
    ) -> int:
        """Remove questions of one partition. Return how many."""
        questions = self._tables.questions
        log = {"log_kind": QUESTIONS, "log_name": partition}
        order = sa.func.row_number().over(order_by=questions.c.id).label("place")
        going = (
            sa.select(questions.c.id, order)
            .where(questions.c.partition == partition, questions.c.ask.is_not(None), *conditions)
            .subquery("going")
        )
        # The log is held first: whoever comes next sees these lines before its own.
        last = connection.execute(self._turn(), log | {"lines": 0, "live": 0}).scalar_one()
        # The text and vector are somebody's words. Each line has a number of its own.
        gone = connection.execute(
            sa.update(questions)
            .where(questions.c.id == going.c.id)
            .values(ask=None, vector=None, digest=None, tags=[], seq=last + going.c.place)
        ).rowcount
        connection.execute(self._turn(), log | {"lines": gone, "live": -gone})
        return gone


def _seen(row: Sequence[Any]) -> Observation | None:
    try:
        return read_observation(row)
    except UnreadableError:
        return None
