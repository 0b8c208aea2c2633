"""SQL labels: what entries and questions are invalidated by, as columns. Reads no database."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from .store import Selection


def label_columns(tags: sa.types.TypeEngine[Any]) -> tuple[sa.Column[Any], ...]:
    """Return the columns of Labels for a new table. `tags`: the type that holds a list."""
    return (
        sa.Column("step", sa.String, nullable=False),
        sa.Column("tenant", sa.String, nullable=False),
        sa.Column("prefix", sa.String, nullable=False),
        sa.Column("tags", tags, nullable=False),
    )


def conditions(
    which: Selection, table: sa.Table, has_tag: Callable[[str], sa.ColumnElement[bool]]
) -> list[sa.ColumnElement[bool]]:
    """Return what the rows of a table with these columns must fulfil to be meant."""
    wanted = {"step": which.step, "prefix": which.prefix, "tenant": which.tenant}
    found = [table.c[name] == text for name, text in wanted.items() if text is not None]
    return found if which.tag is None else [*found, has_tag(which.tag)]
