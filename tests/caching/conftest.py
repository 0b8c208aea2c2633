"""Fixtures: a clock that the test sets, and every kind of answer store."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.caching.answers import Clock
from tests.caching.forks import Forks
from tierflow.caching import AnswerStore
from tierflow.caching.disk_store import DiskStore
from tierflow.caching.memory_store import MemoryStore
from tierflow.caching.postgres_store import PostgresStore


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["disk", "memory", "postgres"])
def answer_store(
    request: pytest.FixtureRequest, tmp_path: Path, clock: Clock
) -> Iterator[AnswerStore]:
    """An empty store of every kind."""
    store: AnswerStore
    if request.param == "disk":
        store = DiskStore(tmp_path / "home" / "cache", size_limit_mb=16, clock=clock)
    elif request.param == "postgres":
        url = SecretStr(request.getfixturevalue("postgres_url"))
        store = PostgresStore(url, size_limit_mb=16, clock=clock)
    else:
        store = MemoryStore(clock=clock)
    yield store
    store.close()


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    forks = Forks()
    yield forks
    forks.close()
