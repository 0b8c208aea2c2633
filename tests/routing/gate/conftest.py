"""Fixtures: where judges are kept, in a file and on a server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from tierflow.routing.gate.sql_store import SqlCalibrations


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "judges.db"


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, path: Path) -> Path | SecretStr:
    if request.param == "postgres":
        return SecretStr(request.getfixturevalue("postgres_url"))
    return path


@pytest.fixture
def store(place: Path | SecretStr) -> Iterator[SqlCalibrations]:
    opened = SqlCalibrations(place)
    yield opened
    opened.close()
