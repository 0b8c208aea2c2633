"""Words: small prompts, and a clock that stands still."""

from typing import Any

import sqlalchemy as sa

from tierflow.prompting import PromptText
from tierflow.prompting.sql_store import SqlPrompts

NOW = 1_800_000_000.0


class Clock:
    """Monotonic seconds, as a test sets them."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def saying(ask: str) -> PromptText:
    """A prompt that is its ask."""
    return PromptText(ask=ask)


def break_store(store: SqlPrompts) -> None:
    """Take the tables away, as whoever restores a wrong backup would."""
    inside: Any = store
    with inside._database.connection() as connection:
        for table in (inside._versions, inside._moves):
            connection.execute(sa.schema.DropTable(table, if_exists=True))


def mend_store(store: SqlPrompts) -> None:
    """Make the tables anew, empty."""
    inside: Any = store
    with inside._database.connection() as connection:
        for table in (inside._versions, inside._moves):
            connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
