"""SQL rollout store: states and observations in SQLite or PostgreSQL, through SQLAlchemy Core."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from ..database import Database, SqliteDatabase
from ..errors import StoreError
from ..postgres import SCHEMA, PostgresDatabase
from ..sealing import Seal, WrongSealError
from .observations import Observation, Observed, PairSeen
from .state import RolloutState
from .written import observation_of, observed, pair_of, pair_row_of, row_of


@dataclass(frozen=True, slots=True)
class _Tables:
    """A new column makes a new table: rows of older versions stay where they are."""

    metadata: sa.MetaData
    states: sa.Table
    observations: sa.Table
    pairs: sa.Table
    scores: sa.Table


@cache
def _tables(schema: str | None) -> _Tables:
    metadata = sa.MetaData(schema=schema)
    # A row is only ever inserted, so that its key is the compare-and-set.
    states = sa.Table(
        "rollout_states_v1",
        metadata,
        sa.Column("rollout", sa.String, primary_key=True),
        sa.Column("revision", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    observations = sa.Table(
        "rollout_observations_v1",
        metadata,
        sa.Column("rollout", sa.String, primary_key=True),
        sa.Column("ref", sa.String, primary_key=True),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    sa.Index("rollout_observations_v1_epoch", observations.c.rollout, observations.c.epoch)
    pairs = sa.Table(
        "rollout_pairs_v1",
        metadata,
        sa.Column("rollout", sa.String, primary_key=True),
        # Of the candidate's answer: the baseline's may be paired again, if the shadow is retried.
        sa.Column("ref", sa.String, primary_key=True),
        sa.Column("baseline_ref", sa.String, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("said", sa.Text, nullable=False),
        sa.Column("sealed", sa.Boolean, nullable=False),
    )
    sa.Index("rollout_pairs_v1_epoch", pairs.c.rollout, pairs.c.epoch)
    scores = sa.Table(
        "rollout_scores_v1",
        metadata,
        sa.Column("rollout", sa.String, primary_key=True),
        sa.Column("ref", sa.String, primary_key=True),
        sa.Column("evaluation", sa.String, primary_key=True),
        sa.Column("score", sa.Double, nullable=False),
    )
    return _Tables(metadata, states, observations, pairs, scores)


class SqlRollouts:
    """Rollouts in a SQLite file, or in PostgreSQL; opened on first use.

    `place`: the file's path, or the URL (see PostgresDatabase). `seal`: encrypts what both arms
    said in the shadow.
    """

    def __init__(self, place: Path | SecretStr, *, seal: Seal | None = None) -> None:
        self._seal = seal
        self._tables = _tables(None if isinstance(place, Path) else SCHEMA)
        self._database: Database
        self._insert: Any
        if isinstance(place, Path):
            self._database = SqliteDatabase("rollout store", place, self._tables.metadata)
            self._insert = sqlite_insert
        else:
            self._database = PostgresDatabase("rollout store", place, self._tables.metadata)
            self._insert = postgres_insert

    def newest(self, rollout: str) -> RolloutState | None:
        """See Rollouts."""
        columns = self._tables.states.c
        query = sa.select(columns.revision, columns.body).where(columns.rollout == rollout)
        with self._database.connection() as connection:
            found = connection.execute(query.order_by(columns.revision.desc()).limit(1)).first()
        return None if found is None else self._state(rollout, *found)

    def put(self, state: RolloutState) -> bool:
        """See Rollouts."""
        states = self._tables.states
        new = self._insert(states).values(
            rollout=state.rollout, revision=state.revision, body=state.model_dump_json()
        )
        # A driver that gives rows back does not always count them.
        new = new.on_conflict_do_nothing().returning(states.c.revision)
        with self._database.connection() as connection:
            return connection.execute(new).first() is not None

    def history(self, rollout: str) -> Sequence[RolloutState]:
        """See Rollouts."""
        columns = self._tables.states.c
        query = sa.select(columns.revision, columns.body).where(columns.rollout == rollout)
        with self._database.connection() as connection:
            found = connection.execute(query.order_by(columns.revision)).all()
        return [self._state(rollout, *each) for each in found]

    def _state(self, rollout: str, revision: int, body: str) -> RolloutState:
        try:
            return RolloutState.from_json(body)
        except StoreError as exc:
            table, name = self._tables.states.fullname, rollout.replace("'", "''")
            where = f"rollout = '{name}' AND revision = {revision}"
            # It is shown to people, and carried out by nobody here.
            remedy = f"DELETE FROM {table} WHERE {where};"  # noqa: S608  # as above
            raise StoreError(f"{exc} As SQL: {remedy}") from None

    def names(self) -> Sequence[str]:
        """See Rollouts."""
        query = sa.select(self._tables.states.c.rollout).distinct()
        with self._database.connection() as connection:
            return sorted(connection.execute(query).scalars())

    def observe(self, rollout: str, seen: Sequence[Observation]) -> None:
        """See Rollouts."""
        if not seen:
            return
        new = self._insert(self._tables.observations).on_conflict_do_nothing()
        rows = [
            {
                "rollout": rollout,
                "ref": each.ref,
                "epoch": each.epoch,
                "body": json.dumps(row_of(each)),
            }
            # Two who insert the same rows in another order would wait for each other.
            for each in sorted(seen, key=lambda each: each.ref)
        ]
        with self._database.connection() as connection:
            connection.execute(new, rows)

    def pair(self, rollout: str, pair: PairSeen) -> None:
        """See Rollouts."""
        said = json.dumps(pair.said)
        new = self._insert(self._tables.pairs).values(
            rollout=rollout,
            ref=pair.candidate.ref,
            baseline_ref=pair.baseline.ref,
            epoch=pair.candidate.epoch,
            body=json.dumps(pair_row_of(pair)),
            said=self._seal.seal(said) if self._seal else said,
            sealed=self._seal is not None,
        )
        with self._database.connection() as connection:
            connection.execute(new.on_conflict_do_nothing())

    def score(self, rollout: str, ref: str, evaluation: str, score: float) -> None:
        """See Rollouts."""
        new = self._insert(self._tables.scores).values(
            rollout=rollout, ref=ref, evaluation=evaluation, score=score
        )
        upsert = new.on_conflict_do_update(
            index_elements=["rollout", "ref", "evaluation"], set_={"score": new.excluded.score}
        )
        with self._database.connection() as connection:
            connection.execute(upsert)

    def seen(self, rollout: str, since: int) -> Observed:
        """See Rollouts."""
        observations, pairs, scores = (
            self._tables.observations.c,
            self._tables.pairs.c,
            self._tables.scores.c,
        )
        later = defaultdict[str, dict[str, float]](dict)
        with self._database.connection() as connection:
            of_calls = sa.select(observations.body).where(
                observations.rollout == rollout, observations.epoch >= since
            )
            calls = [observation_of(each) for each in connection.execute(of_calls).scalars()]
            of_pairs = sa.select(pairs.body, pairs.said, pairs.sealed).where(
                pairs.rollout == rollout, pairs.epoch >= since
            )
            both = [
                replace(pair_of(body), said=self._said(said, sealed=sealed))
                for body, said, sealed in connection.execute(of_pairs)
            ]
            for ref, evaluation, score in connection.execute(
                sa.select(scores.ref, scores.evaluation, scores.score).where(
                    scores.rollout == rollout
                )
            ):
                later[ref][evaluation] = score
        return observed(calls, both, later)

    def _said(self, said: str, *, sealed: bool) -> tuple[str, str]:
        """Return what both arms said; nothing where it was sealed with a key that is gone."""
        if sealed and self._seal is None:
            return "", ""
        try:
            baseline, candidate = json.loads(
                self._seal.open(said) if sealed and self._seal else said
            )
        except WrongSealError:
            return "", ""
        return baseline, candidate

    def forget(self, rollout: str, before_epoch: int) -> None:
        """See Rollouts."""
        observations, pairs, scores = (
            self._tables.observations,
            self._tables.pairs,
            self._tables.scores,
        )
        calls, both = (
            sa.and_(each.c.rollout == rollout, each.c.epoch < before_epoch)
            for each in (observations, pairs)
        )
        refs = sa.union(
            sa.select(observations.c.ref).where(calls),
            sa.select(pairs.c.ref).where(both),
            sa.select(pairs.c.baseline_ref).where(both),
        )
        of_them = sa.delete(scores).where(scores.c.rollout == rollout, scores.c.ref.in_(refs))
        with self._database.connection() as connection:
            connection.execute(of_them)
            connection.execute(sa.delete(observations).where(calls))
            connection.execute(sa.delete(pairs).where(both))

    def close(self) -> None:
        """See Rollouts."""
        self._database.close()
