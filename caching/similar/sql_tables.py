"""SQL tables: questions and observations as rows of a database. Made and read by the SQL stores."""

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from ..sql_labels import label_columns


class Halfvec(sa.types.UserDefinedType[str]):
    """pgvector's float16 vector, which goes in as text: `[0.1,0.2]`. `dims`: None for any."""

    cache_ok = True

    def __init__(self, dims: int | None = None) -> None:
        self.dims = dims

    def get_col_spec(self, **_: Any) -> str:
        """Return its name in SQL."""
        return "halfvec" if self.dims is None else f"halfvec({self.dims})"


_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TAGS: sa.types.TypeEngine[Any] = sa.JSON().with_variant(JSONB(), "postgresql")
_VECTOR: sa.types.TypeEngine[Any] = sa.LargeBinary().with_variant(Halfvec(), "postgresql")

QUESTIONS: Final = "questions"
OBSERVATIONS: Final = "observations"


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of a similar store. A new column makes a new table: older rows stay.

    `store`: one row, with what tells this database from any other.
    `logs`: the last number of each log (of a partition's questions, of a scope's observations),
    and how many of its lines are live. A writer changes that row first, and so holds the log until
    its commit: numbers are committed in order, and a reader that saw one has seen all before it.
    """

    metadata: sa.MetaData
    store: sa.Table
    logs: sa.Table
    questions: sa.Table
    observations: sa.Table


@cache
def tables(schema: str | None) -> Tables:
    """Return the tables as they stand in a schema."""
    metadata = sa.MetaData(schema=schema)
    store = sa.Table(
        "similar_store_v1",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("identity", sa.LargeBinary, nullable=False),
    )
    logs = sa.Table(
        "similar_logs_v1",
        metadata,
        sa.Column("kind", sa.String, primary_key=True),
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.Column("live", sa.BigInteger, nullable=False),
    )
    questions = sa.Table(
        "questions_v1",
        metadata,
        sa.Column("id", _ID, primary_key=True),
        sa.Column("partition", sa.String, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("key", sa.String, nullable=False),
        sa.Column("value", sa.String, nullable=False),
        *label_columns(_TAGS),
        sa.Column("dims", sa.Integer, nullable=False),
        # Bytes: text in PostgreSQL cannot hold NUL. Both are cleared when a question is removed.
        sa.Column("ask", sa.LargeBinary),
        # float16: half the size, and cosines differ by less than 0.001.
        sa.Column("vector", _VECTOR),
        # See sql_rows. Cleared too.
        sa.Column("digest", sa.LargeBinary),
        sa.Index("questions_v1_log", "partition", "seq", unique=True),
    )
    live = questions.c.ask.is_not(None)
    sa.Index(
        "questions_v1_key",
        questions.c.partition,
        questions.c.key,
        unique=True,
        sqlite_where=live,
        postgresql_where=live,
    )
    observations = sa.Table(
        "observations_v1",
        metadata,
        sa.Column("scope", sa.String, primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("partition", sa.String, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("features", sa.LargeBinary, nullable=False),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("weight", sa.Double, nullable=False),
        sa.Column("would_serve", sa.Boolean, nullable=False),
        sa.Column("right", sa.Boolean, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("value", sa.String, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
    )
    return Tables(metadata, store, logs, questions, observations)
