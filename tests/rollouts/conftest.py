"""Fixtures: where rollouts are kept: in a file, on a server, on Prefect's."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL
from pydantic import SecretStr

from tierflow.rollouts.prefect_store import PrefectRollouts
from tierflow.rollouts.prefect_variables import Variables
from tierflow.rollouts.sql_store import SqlRollouts
from tierflow.rollouts.store import Rollouts


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "rollouts.db"


@pytest.fixture
def variables(prefect_server: None) -> Iterator[Variables]:
    """Prefect's Variables: none of ours at first."""
    opened = Variables()
    yield opened
    for each in list(opened.find("tierflow_rollout", newest=True)):
        opened.delete(each.name)
    opened.close()


@pytest.fixture(params=["sqlite", "postgres", "prefect"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def open_store(kind: str, request: pytest.FixtureRequest, path: Path) -> Callable[[], Rollouts]:
    if kind == "prefect":
        request.getfixturevalue("variables")
        return PrefectRollouts
    if kind == "postgres":
        return partial(SqlRollouts, SecretStr(request.getfixturevalue("postgres_url")))
    return partial(SqlRollouts, path)


@pytest.fixture
def store(open_store: Callable[[], Rollouts]) -> Iterator[Rollouts]:
    opened = open_store()
    yield opened
    opened.close()


@pytest.fixture
def api_url(kind: str) -> str:
    """Of the Prefect server that a process of its own is to use."""
    return str(PREFECT_API_URL.value() or "") if kind == "prefect" else "http://127.0.0.1:1/api"
