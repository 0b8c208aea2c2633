"""SQL reviews: the queue of answers for people, in the database of the calibrations.

The texts of a row are the JSON `[gate, ask, answer]` in ASCII, or that sealed: with its gate inside
it is of no use in the queue of another.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import SecretStr

from ...errors import ReviewError
from ...sealing import Seal
from .reviews import MOST_OPEN, Review, Reviewed
from .sql_database import GateDatabase
from .store import Audit


class SqlReviews:
    """Reviews in a SQLite file, or in PostgreSQL; opened on first use.

    `place`: the file's path, or the URL (see PostgresDatabase). `seal`: encrypts the texts.
    `most`: how many of a gate wait at most.
    """

    def __init__(
        self, place: Path | SecretStr, *, seal: Seal | None = None, most: int = MOST_OPEN
    ) -> None:
        self._database = GateDatabase(place)
        self._reviews = self._database.tables.reviews
        self._seal, self._most = seal, most

    def put(self, gate: str, *, stratum: str, at: float, ask: str, answer: str) -> None:
        """See Reviews."""
        # ASCII, because models send what no database takes: NUL, and halves of characters.
        texts, columns = json.dumps([gate, ask, answer]), self._reviews.c
        row = {
            "step": gate,
            "stratum": stratum,
            "at": at,
            "texts": self._seal.seal(texts) if self._seal else texts,
            "sealed": self._seal is not None,
        }
        waiting = sa.select(columns.id).where(columns.step == gate, columns.right.is_(None))
        displaced = waiting.order_by(columns.id.desc()).offset(self._most)
        with self._database.holding(gate) as (connection, _):
            connection.execute(sa.insert(self._reviews).values(row))
            connection.execute(sa.delete(self._reviews).where(columns.id.in_(displaced)))

    def waiting(
        self, gate: str | None = None, *, before: int | None = None, limit: int | None = None
    ) -> Sequence[Review]:
        """See Reviews."""
        columns = self._reviews.c
        query = sa.select(self._reviews).where(columns.right.is_(None))
        if gate is not None:
            query = query.where(columns.step == gate)
        if before is not None:
            query = query.where(columns.id < before)
        with self._database.connection() as connection:
            found = connection.execute(query.order_by(columns.id.desc()).limit(limit)).all()
        return [self._review(row) for row in found]

    def counts(self) -> Mapping[str, int]:
        """See Reviews."""
        columns = self._reviews.c
        query = sa.select(columns.step, sa.func.count()).where(columns.right.is_(None))
        with self._database.connection() as connection:
            found = connection.execute(query.group_by(columns.step).order_by(columns.step)).all()
        return {row[0]: row[1] for row in found}

    def say(self, review: int, *, right: bool, who: str, at: float) -> Reviewed:
        """See Reviews."""
        columns = self._reviews.c
        # Read apart: whoever holds a step must not hold a row of it before.
        gate = self._row(review).step
        said = (
            sa.update(self._reviews)
            .where(columns.id == review, columns.right.is_(None))
            .values(right=right, who=who, said_at=at, texts=None)
            .returning(columns.stratum, columns.at)
        )
        with self._database.holding(gate) as (connection, held):
            row: Any = connection.execute(said).first()
            if row is not None:
                audit = Audit(gate, row.stratum, right, row.at)
                alarm = self._database.enter(connection, held, audit)
                return Reviewed(review, gate, right, alarm)
        raise _said_before(self._row(review))

    def close(self) -> None:
        """See Reviews."""
        self._database.close()

    def _row(self, review: int) -> Any:
        """Return a review's row. Raises ReviewError."""
        query = sa.select(self._reviews).where(self._reviews.c.id == review)
        with self._database.connection() as connection:
            row = connection.execute(query).first()
        if row is None:
            raise ReviewError(
                f"There is no review {review}: it was never there, or newer answers or a new "
                "calibration took its place. `tierflow judge review --json` lists the open ones."
            )
        return row

    def _review(self, row: Any) -> Review:
        ask, answer = self._texts(row)
        return Review(row.id, row.step, row.stratum, row.at, ask, answer)

    def _texts(self, row: Any) -> tuple[str | None, str | None]:
        if row.sealed and self._seal is None:
            return None, None
        try:
            texts = self._seal.open(row.texts) if row.sealed and self._seal else row.texts
            gate, ask, answer = json.loads(texts)
        except (ValueError, TypeError):
            return None, None
        return (ask, answer) if gate == row.step else (None, None)


def _said_before(row: Any) -> ReviewError:
    word = "right" if row.right else "wrong"
    when = datetime.fromtimestamp(row.said_at, UTC).isoformat(timespec="seconds")
    return ReviewError(
        f"Review {row.id} was marked {word} by {row.who} at {when}, and counts as that. Go on with "
        "the next: `tierflow judge review`."
    )
