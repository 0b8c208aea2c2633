"""SQL database: the tables of judges, and what more than one store changes in them."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from ...database import Database, SqliteDatabase
from ...errors import StoreError
from ...postgres import SCHEMA, PostgresDatabase
from .drift import Drift
from .store import Audit

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


@dataclass(frozen=True, slots=True)
class Tables:
    """A new column makes a new table: rows of older versions stay where they are.

    `gates` has one row per step. Whoever writes changes its `turn` first, and so holds the step
    until the commit: audits of several processes come one after the other.
    """

    metadata: sa.MetaData
    calibrations: sa.Table
    audits: sa.Table
    gates: sa.Table
    refusals: sa.Table
    reviews: sa.Table


@cache
def tables(schema: str | None) -> Tables:
    """Return the tables as they stand in a schema."""
    metadata = sa.MetaData(schema=schema)
    calibrations = sa.Table(
        "judge_calibrations_v1",
        metadata,
        sa.Column("id", _ID, primary_key=True),
        sa.Column("step", sa.String, nullable=False, index=True),
        sa.Column("body", sa.Text, nullable=False),
    )
    audits = sa.Table(
        "judge_audits_v1",
        metadata,
        sa.Column("id", _ID, primary_key=True),
        sa.Column("step", sa.String, nullable=False, index=True),
        sa.Column("stratum", sa.String, nullable=False),
        sa.Column("right", sa.Boolean, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
    )
    gates = sa.Table(
        "judge_gates_v1",
        metadata,
        sa.Column("step", sa.String, primary_key=True),
        sa.Column("turn", sa.BigInteger, nullable=False),
        sa.Column("calibration", sa.String),
        sa.Column("since", sa.Double),
        sa.Column("drift", sa.Text),
        sa.Column("alarmed_at", sa.Double),
        sa.Column("hand_closed", sa.Boolean),
        sa.Column("hand_why", sa.String),
        sa.Column("hand_who", sa.String),
        sa.Column("hand_at", sa.Double),
    )
    refusals = sa.Table(
        "judge_refusals_v1",
        metadata,
        sa.Column("step", sa.String, primary_key=True),
        sa.Column("cause", sa.String, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("calibration", sa.String),
    )
    reviews = sa.Table(
        "judge_reviews_v1",
        metadata,
        sa.Column("id", _ID, primary_key=True),
        sa.Column("step", sa.String, nullable=False),
        sa.Column("stratum", sa.String, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        # See sql_reviews. Cleared once somebody has said right or wrong.
        sa.Column("texts", sa.Text),
        sa.Column("sealed", sa.Boolean, nullable=False),
        sa.Column("right", sa.Boolean),
        sa.Column("who", sa.String),
        sa.Column("said_at", sa.Double),
        # An id that is gone is never another's: somebody may still have it on the screen.
        sqlite_autoincrement=True,
    )
    open_ = reviews.c.right.is_(None)
    sa.Index(
        "judge_reviews_v1_open",
        reviews.c.step,
        reviews.c.id,
        sqlite_where=open_,
        postgresql_where=open_,
    )
    return Tables(metadata, calibrations, audits, gates, refusals, reviews)


class GateDatabase:
    """The database of judges, a SQLite file or in PostgreSQL; opened on first use.

    `place`: the file's path, or the URL (see PostgresDatabase).
    """

    def __init__(self, place: Path | SecretStr) -> None:
        self.tables = tables(None if isinstance(place, Path) else SCHEMA)
        self._database: Database
        if isinstance(place, Path):
            self._database = SqliteDatabase("judge store", place, self.tables.metadata)
            self.insert: Any = sqlite_insert
        else:
            self._database = PostgresDatabase("judge store", place, self.tables.metadata)
            self.insert = postgres_insert

    @contextmanager
    def connection(self) -> Generator[sa.Connection]:
        """Give a connection in a transaction, committed at the end. Raises StoreError."""
        with self._database.connection() as connection:
            yield connection

    @contextmanager
    def holding(self, step: str) -> Generator[tuple[sa.Connection, Any]]:
        """Give such a connection that holds a step until the commit, and the step's row."""
        gates = self.tables.gates
        with self._database.connection() as connection:
            new = self.insert(gates).values(step=step, turn=0)
            connection.execute(new.on_conflict_do_nothing())
            turn = sa.update(gates).where(gates.c.step == step).values(turn=gates.c.turn + 1)
            yield connection, connection.execute(turn.returning(gates)).one()

    def change(self, connection: sa.Connection, step: str, **values: Any) -> None:
        """Change the row of a step that is held."""
        gates = self.tables.gates
        connection.execute(sa.update(gates).where(gates.c.step == step).values(values))

    def enter(self, connection: sa.Connection, gate: Any, audit: Audit) -> bool:
        """Enter an audit of a step that is held, whose row is `gate`. Return whether drift is seen.

        Raises StoreError.
        """
        row = {"step": audit.step, "stratum": audit.stratum, "right": audit.right, "at": audit.at}
        connection.execute(sa.insert(self.tables.audits).values(row))
        if gate.calibration is None:
            return False
        drift = read_drift(gate.drift)
        if audit.at >= gate.since:
            alarmed = drift.alarm
            drift.add(audit.right)
            alarmed_at = audit.at if drift.alarm and not alarmed else gate.alarmed_at
            kept = json.dumps(drift.state())
            self.change(connection, audit.step, drift=kept, alarmed_at=alarmed_at)
        return drift.alarm

    def close(self) -> None:
        """Close the connections; the next use opens them again."""
        self._database.close()


def read_drift(kept: Any) -> Drift:
    """Return a watch for drift as it was kept. Raises StoreError."""
    try:
        return Drift.from_state(json.loads(kept))
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise StoreError(
            "The judge store's watch for drift cannot be read: it is damaged or of another "
            "version. Calibrate anew: `tierflow judge calibrate`."
        ) from exc
