"""SQL gate store: calibrations in SQLite or PostgreSQL, through SQLAlchemy Core."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import SecretStr

from .calibration import Calibration
from .drift import Drift
from .sql_database import GateDatabase, read_drift
from .store import Audit, Hand, Refusal, State
from .tally import ALL


class SqlCalibrations:
    """Calibrations in a SQLite file, or in PostgreSQL; opened on first use.

    `place`: the file's path, or the URL (see PostgresDatabase).
    """

    def __init__(self, place: Path | SecretStr) -> None:
        self._database = GateDatabase(place)
        self._tables = self._database.tables

    def newest(self, step: str) -> Calibration | None:
        """See Calibrations."""
        columns = self._tables.calibrations.c
        query = sa.select(columns.body).where(columns.step == step).order_by(columns.id.desc())
        with self._database.connection() as connection:
            found: str | None = connection.execute(query.limit(1)).scalar()
        return None if found is None else Calibration.from_json(found)

    def add(self, calibration: Calibration) -> None:
        """See Calibrations."""
        step = calibration.step
        row = {"step": step, "body": calibration.model_dump_json()}
        drift = json.dumps(Drift(calibration.watch_floor).state())
        reviews = self._tables.reviews
        earlier = sa.delete(reviews).where(
            reviews.c.step == step, reviews.c.right.is_(None), reviews.c.at < calibration.at
        )
        with self._database.holding(step) as (connection, _):
            connection.execute(sa.insert(self._tables.calibrations).values(row))
            connection.execute(earlier)
            self._database.change(
                connection,
                step,
                calibration=calibration.id,
                since=calibration.at,
                drift=drift,
                alarmed_at=None,
            )

    def audit(self, step: str, *, right: bool, at: float, stratum: str = ALL) -> bool:
        """See Calibrations."""
        with self._database.holding(step) as (connection, gate):
            return self._database.enter(connection, gate, Audit(step, stratum, right, at))

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
        drift = read_drift(gate.drift)
        return State(
            gate.calibration, drift.count, drift.right, drift.evidence, gate.alarmed_at, hand
        )

    def set_state(self, step: str, *, closed: bool, why: str, who: str, at: float) -> None:
        """See Calibrations."""
        with self._database.holding(step) as (connection, _):
            self._database.change(
                connection, step, hand_closed=closed, hand_why=why, hand_who=who, hand_at=at
            )

    def refuse(self, refusal: Refusal) -> None:
        """See Calibrations."""
        refusals = self._tables.refusals
        new = self._database.insert(refusals).values(
            step=refusal.step,
            cause=refusal.cause,
            reason=refusal.reason,
            at=refusal.at,
            calibration=refusal.calibration,
        )
        told = {name: new.excluded[name] for name in ("cause", "reason", "at", "calibration")}
        # Processes may be told in another order than they write.
        later = refusals.c.at <= new.excluded.at
        upsert = new.on_conflict_do_update(index_elements=["step"], set_=told, where=later)
        with self._database.connection() as connection:
            connection.execute(upsert)

    def refusal(self, step: str) -> Refusal | None:
        """See Calibrations."""
        columns = self._tables.refusals.c
        query = sa.select(
            columns.step, columns.cause, columns.reason, columns.at, columns.calibration
        ).where(columns.step == step)
        with self._database.connection() as connection:
            found = connection.execute(query).first()
        return None if found is None else Refusal(*found)

    def steps(self) -> Sequence[str]:
        """See Calibrations."""
        gates, refusals = self._tables.gates.c.step, self._tables.refusals.c.step
        with self._database.connection() as connection:
            known = connection.execute(sa.union(sa.select(gates), sa.select(refusals))).scalars()
            return sorted(known)

    def close(self) -> None:
        """See Calibrations."""
        self._database.close()
