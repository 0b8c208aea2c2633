"""SQL store of evaluations: a table beside the ledger's, in SQLite or PostgreSQL.

The explanation of a row is the JSON `[id, explanation]` in ASCII, or that sealed: with its id
inside it is of no use in another row.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import SecretStr

from ...database import Database, SqliteDatabase
from ...postgres import SCHEMA, PostgresDatabase
from ...sealing import Seal
from .evaluation import Evaluation
from .store import Counted

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_KEPT = tuple(each.name for each in fields(Evaluation) if each.name not in {"id", "explanation"})


@cache
def _table(schema: str | None) -> sa.Table:
    # A new column makes a new table: rows of older versions stay where they are. `number` is the
    # order of writing.
    return sa.Table(
        "evaluations_v1",
        sa.MetaData(schema=schema),
        sa.Column("number", _ID, primary_key=True),
        sa.Column("id", sa.String, nullable=False),
        sa.Column("ref", sa.String, nullable=False, index=True),
        sa.Column("at", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("score", sa.Double),
        sa.Column("label", sa.String),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("evaluator", sa.String, nullable=False),
        sa.Column("rejected", sa.Boolean, nullable=False),
        sa.Column("flow_run_id", sa.String, index=True),
        sa.Column("flow", sa.String),
        sa.Column("step", sa.String, nullable=False),
        sa.Column("tier", sa.String, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("arm", sa.String, nullable=False),
        sa.Column("tenant", sa.String, nullable=False),
        sa.Column("trace_id", sa.String),
        sa.Column("span_id", sa.String),
        sa.Column("explanation", sa.Text),
        sa.Column("sealed", sa.Boolean, nullable=False),
    )


class SqlEvaluations:
    """Evaluations in a SQLite file, or in PostgreSQL; opened on first use.

    `place`: the file's path, or the URL (see PostgresDatabase). `seal`: encrypts explanations.
    """

    def __init__(self, place: Path | SecretStr, *, seal: Seal | None = None) -> None:
        self._table = _table(None if isinstance(place, Path) else SCHEMA)
        self._seal = seal
        self._database: Database = (
            SqliteDatabase("ledger", place, self._table.metadata)
            if isinstance(place, Path)
            else PostgresDatabase("ledger", place, self._table.metadata)
        )

    def add(self, evaluation: Evaluation) -> None:
        """See Evaluations."""
        row = {name: getattr(evaluation, name) for name in ("id", *_KEPT)}
        explained = self._written(evaluation)
        row |= {"explanation": explained, "sealed": self._seal is not None}
        with self._database.connection() as connection:
            connection.execute(sa.insert(self._table).values(row))

    def of_answer(self, ref: str) -> Sequence[Evaluation]:
        """See Evaluations."""
        columns = self._table.c
        query = sa.select(self._table).where(columns.ref == ref).order_by(columns.number)
        with self._database.connection() as connection:
            found = [dict(row) for row in connection.execute(query).mappings()]
        return [self._evaluation(row) for row in found]

    def scores(self, flow_run_id: str) -> Mapping[str, tuple[float, int]]:
        """See Evaluations."""
        columns = self._table.c
        wanted = (columns.flow_run_id == flow_run_id, columns.score.is_not(None))
        mean, count = sa.func.avg(columns.score), sa.func.count()
        query = (
            sa.select(columns.step, mean.label("mean"), count.label("count"))
            .where(*wanted, columns.number.in_(self._newest(*wanted)))
            .group_by(columns.step)
            .order_by(columns.step)
        )
        with self._database.connection() as connection:
            found: Any = connection.execute(query).all()
        return {step: (float(mean), count) for step, mean, count in found}

    def counted(self, *, since: str = "", step: str | None = None) -> Sequence[Counted]:
        """See Evaluations."""
        columns = self._table.c
        wanted = [columns.at >= since]
        if step is not None:
            wanted.append(columns.step == step)
        alike = tuple(
            columns[name] for name in ("step", "tier", "model", "arm", "name", "label", "source")
        )
        by = (columns.ref, columns.source, columns.evaluator)
        scores = sa.select(sa.func.max(columns.number)).where(*wanted, columns.score.is_not(None))
        last = sa.case((columns.number.in_(scores.group_by(*by)), 1), else_=0).label("last")
        query = (
            sa.select(
                *alike,
                last,
                sa.func.count().label("count"),
                sa.func.count(columns.score).label("scored"),
                sa.func.coalesce(sa.func.sum(columns.score), 0.0).label("total"),
            )
            .where(columns.number.in_(self._newest(*wanted)))
            # By its label: PostgreSQL would not see that values bound twice are the same.
            .group_by(*alike, sa.literal_column("last"))
            .order_by(*alike, sa.literal_column("last"))
        )
        with self._database.connection() as connection:
            found: list[dict[str, Any]] = [
                dict(row) for row in connection.execute(query).mappings()
            ]
        # SQLite gives 0 and 1.
        return [replace(Counted(**row), last=bool(row["last"])) for row in found]

    def close(self) -> None:
        """See Evaluations."""
        self._database.close()

    def _newest(self, *wanted: sa.ColumnElement[bool]) -> sa.Select[Any]:
        """Return the numbers of those that count: of one evaluator and answer the last."""
        columns = self._table.c
        by = (columns.ref, columns.name, columns.source, columns.evaluator)
        return sa.select(sa.func.max(columns.number)).where(*wanted).group_by(*by)

    def _written(self, evaluation: Evaluation) -> str | None:
        if evaluation.explanation is None:
            return None
        # ASCII, because models send what no database takes: NUL, and halves of characters.
        text = json.dumps([evaluation.id, evaluation.explanation])
        return self._seal.seal(text) if self._seal else text

    def _evaluation(self, row: Mapping[str, Any]) -> Evaluation:
        given = {name: row[name] for name in _KEPT}
        return Evaluation(id=row["id"], **given, explanation=self._read(row))

    def _read(self, row: Mapping[str, Any]) -> str | None:
        text: str | None = row["explanation"]
        if text is None or (row["sealed"] and self._seal is None):
            return None
        try:
            of, explanation = json.loads(
                self._seal.open(text) if row["sealed"] and self._seal else text
            )
        except (ValueError, TypeError):
            return None
        return explanation if of == row["id"] and isinstance(explanation, str) else None
