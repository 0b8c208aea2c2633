"""Fixtures: an event loop policy that opens no loop unasked, and the ledger's rows as they are."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

Rows = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def no_event_loop() -> None:
    """Without this litellm's blocking client opens an event loop that nobody closes."""
    asyncio.set_event_loop(None)


@pytest.fixture
def rows(project: Path) -> Rows:
    """Read the ledger past the code that is tested; rows outside of a flow are there too."""

    def read() -> list[dict[str, Any]]:
        with closing(sqlite3.connect(project / ".tierflow" / "ledger.db")) as ledger:
            ledger.row_factory = sqlite3.Row
            found = ledger.execute("SELECT * FROM answers_v1 ORDER BY id").fetchall()
        return [dict(row) for row in found]

    return read
