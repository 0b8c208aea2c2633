"""Fixtures: a folder of prompts, and a store of them in a file and on a server."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from tierflow.prompting import PromptFiles, Registry
from tierflow.prompting.sql_store import SqlPrompts

from .words import Clock

Write = Callable[[str, str], Path]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "prompts.db"


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, path: Path) -> Path | SecretStr:
    if request.param == "postgres":
        return SecretStr(request.getfixturevalue("postgres_url"))
    return path


@pytest.fixture
def store(place: Path | SecretStr) -> Iterator[SqlPrompts]:
    opened = SqlPrompts(place)
    yield opened
    opened.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "prompts"


@pytest.fixture
def write(folder: Path) -> Write:
    """Write a file of the folder: `write("triage/v1", 'ask = "{{ticket}}"')`."""

    def write(name: str, text: str) -> Path:
        path = folder / f"{name}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(folder: Path, store: SqlPrompts, clock: Clock) -> Registry:
    return Registry(PromptFiles(folder), store, clock)
