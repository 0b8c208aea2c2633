"""SQL gate store: calibrations in SQLite or PostgreSQL, through SQLAlchemy Core."""

import json
from collections.abc import Sequence
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
from .calibration import Calibration
from .drift import Drift
from .store import Audit, Hand, State
from .tally import ALL

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


@dataclass(frozen=True, slots=True)
class _Tables:
    """A new column makes a new table: rows of older versions stay where they are.

    `gates` has one row per step. Whoever writes changes its `turn` first, and so holds the step
    until the commit: audits of several processes come one after the other.
    """

    metadata: sa.MetaData
    calibrations: sa.Table
    audits: sa.Table
    gates: sa.Table


@cache
def _tables(schema: str | None) -> _Tables:
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
    return _Tables(metadata, calibrations, audits, gates)


class SqlCalibrations:
    """Calibrations in a SQLite file, or in PostgreSQL; opened on first use.

    `place`: the file's path, or the URL (see PostgresDatabase).
    """

    def __init__(self, place: Path | SecretStr) -> None:
        self._tables = _tables(None if isinstance(place, Path) else SCHEMA)
        self._database: Database
        if isinstance(place, Path):
            self._database = SqliteDatabase("judge store", place, self._tables.metadata)
        else:
            self._database = PostgresDatabase("judge store", place, self._tables.metadata)

    def newest(self, step: str) -> Calibration | None:
        """See Calibrations."""
        columns = self._tables.calibrations.c
        query = sa.select(columns.body).where(columns.step == step).order_by(columns.id.desc())
        with self._database.connection() as connection:
            found: str | None = connection.execute(query.limit(1)).scalar()
        return None if found is None else Calibration.from_json(found)

    def add(self, calibration: Calibration) -> None:
        """See Calibrations."""
        body = calibration.model_dump_json()
        drift = json.dumps(Drift(calibration.watch_floor).state())
        with self._database.connection() as connection:
            self._hold(connection, calibration.step)
            row = {"step": calibration.step, "body": body}
            connection.execute(sa.insert(self._tables.calibrations).values(row))
            self._change(
                connection,
                calibration.step,
                calibration=calibration.id,
                since=calibration.at,
                drift=drift,
                alarmed_at=None,
            )

    def audit(self, step: str, *, right: bool, at: float, stratum: str = ALL) -> bool:
        """See Calibrations."""
        row = {"step": step, "stratum": stratum, "right": right, "at": at}
        with self._database.connection() as connection:
            gate = self._hold(connection, step)
            connection.execute(sa.insert(self._tables.audits).values(row))
            if gate.calibration is None:
                return False
            drift = _drift(gate.drift)
            if at >= gate.since:
                alarmed = drift.alarm
                drift.add(right)
                alarmed_at = at if drift.alarm and not alarmed else gate.alarmed_at
                kept = json.dumps(drift.state())
                self._change(connection, step, drift=kept, alarmed_at=alarmed_at)
            return drift.alarm

    def audits(self, step: str, limit: int = 1000) -> Sequence[Audit]:
        """See Calibrations."""
        columns = self._tables.audits.c
        query = (
            sa.select(columns.step, columns.stratum, columns.right, columns.at)
            .where(columns.step == step)
            .order_by(columns.id.desc())
            .limit(limit)
        )
        with self._database.connection() as connection:
            found = [Audit(*row) for row in connection.execute(query)]
        return found[::-1]

    def state(self, step: str) -> State:
        """See Calibrations."""
        gates = self._tables.gates
        with self._database.connection() as connection:
            gate: Any = connection.execute(sa.select(gates).where(gates.c.step == step)).first()
        if gate is None:
            return State()
        hand = None
        if gate.hand_closed is not None:
            hand = Hand(gate.hand_closed, gate.hand_why, gate.hand_who, gate.hand_at)
        if gate.calibration is None:
            return State(hand=hand)
        drift = _drift(gate.drift)
        return State(
            gate.calibration, drift.count, drift.right, drift.evidence, gate.alarmed_at, hand
        )

    def set_state(self, step: str, *, closed: bool, why: str, who: str, at: float) -> None:
        """See Calibrations."""
        with self._database.connection() as connection:
            self._hold(connection, step)
            self._change(
                connection, step, hand_closed=closed, hand_why=why, hand_who=who, hand_at=at
            )

    def steps(self) -> Sequence[str]:
        """See Calibrations."""
        with self._database.connection() as connection:
            return sorted(connection.execute(sa.select(self._tables.gates.c.step)).scalars())

    def close(self) -> None:
        """See Calibrations."""
        self._database.close()

    def _hold(self, connection: sa.Connection, step: str) -> Any:
        """Hold a step until the commit. Return its row."""
        gates = self._tables.gates
        insert = postgres_insert if self._database.schema else sqlite_insert
        new = insert(gates).values(step=step, turn=0)
        connection.execute(new.on_conflict_do_nothing())
        turn = sa.update(gates).where(gates.c.step == step).values(turn=gates.c.turn + 1)
        return connection.execute(turn.returning(gates)).one()

    def _change(self, connection: sa.Connection, step: str, **values: Any) -> None:
        gates = self._tables.gates
        connection.execute(sa.update(gates).where(gates.c.step == step).values(values))


def _drift(kept: Any) -> Drift:
    try:
        return Drift.from_state(json.loads(kept))
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise StoreError(
            "The judge store's watch for drift cannot be read: it is damaged or of another "
            "version. Calibrate anew: `tierflow judge calibrate`."
        ) from exc
