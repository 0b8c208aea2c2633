"""SQL faults: what is damaged or foreign in the tables of a similar store. Mends nothing."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import sqlalchemy as sa

from ..codec import UnreadableError
from .sql_tables import OBSERVATIONS, QUESTIONS, Tables
from .store import Asked, Observation

_AT_ONCE = 1000

Read = Callable[[sa.Column[Any]], sa.ColumnElement[Any]]
"""How a column is read so that no value of it fails."""


def row_faults(
    connection: sa.Connection,
    questions: sa.Select[Any],
    question: Callable[[Any], Asked],
    observations: sa.Select[Any],
    observation: Callable[[Any], Observation],
) -> Iterator[str]:
    """Yield a line for each row that cannot be read. The selects: id first; number first."""
    kinds: list[tuple[str, sa.Select[Any], Callable[[Any], object]]] = [
        ("question", questions, question),
        ("observation", observations, observation),
    ]
    for name, rows, read in kinds:
        for number, *row in _all(connection, rows.execution_options(yield_per=_AT_ONCE)):
            try:
                read(row)
            except UnreadableError as exc:
                yield f"{name} {number} of {_shown(row[0])}: {exc}"


def log_faults(connection: sa.Connection, tables: Tables, read: Read) -> Iterator[str]:
    """Yield a line for each log whose last number or count is not that of its rows."""
    logs, asked, seen = tables.logs, tables.questions.c, tables.observations.c
    noted_there = sa.select(*map(read, (logs.c.kind, logs.c.name, logs.c.last, logs.c.live)))
    known: dict[tuple[bytes, bytes], tuple[int, int]] = {
        (bytes_of(kind), bytes_of(name)): (last, live)
        for kind, name, last, live in _all(connection, noted_there)
    }
    counts = {
        QUESTIONS: (asked.partition, asked.seq, sa.func.count(asked.ask)),
        OBSERVATIONS: (seen.scope, seen.seq, sa.func.count()),
    }
    for kind, (name, seq, live) in counts.items():
        first = sa.func.min(sa.func.coalesce(read(seq), 0))
        there = sa.select(read(name), first, sa.func.max(read(seq)), live).group_by(name)
        for whose, begin, last, count in _all(connection, there):
            noted, counted = known.get((kind.encode(), bytes_of(whose)), (0, 0))
            which = f"log of the {kind} of {_shown(whose)}"
            if begin < 1:
                yield f"{which}: it begins at number {begin}"
            if last is not None and noted < last:
                yield f"{which}: it ends at number {noted}, but number {last} is there"
            if counted != count:
                yield f"{which}: it counts {counted}, but {count} are there"


def _all(connection: sa.Connection, query: sa.Select[*tuple[Any, ...]]) -> Iterable[Any]:
    return connection.execute(query)


def bytes_of(kept: bytes | str | None) -> bytes:
    """Return a text that was read as one or as bytes; none is empty."""
    return kept.encode() if isinstance(kept, str) else bytes(kept or b"")


def _shown(name: bytes | str | None) -> str:
    # A damaged name may hold a terminal's control characters.
    return ascii(bytes_of(name)[:80].decode(errors="replace"))[1:-1]
