"""Fixtures: every kind of similar store."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from tierflow.caching.similar.memory_store import MemorySimilarStore
from tierflow.caching.similar.store import SimilarStore
from tierflow.sealing import Seal

Opener = Callable[..., SimilarStore]


@pytest.fixture(params=["sqlite", "postgres"])
def open_similar(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Open a similar store, each time another one on the same database; closed afterwards."""
    opened: list[SimilarStore] = []
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else None

    def open_it(seal: Seal | None = None) -> SimilarStore:
        store: SimilarStore
        if url is not None:
            from tierflow.caching.similar.postgres_store import PostgresSimilarStore

            store = PostgresSimilarStore(SecretStr(url), seal=seal, poll_s=0.01)
        else:
            from tierflow.caching.similar.sqlite_store import SqliteSimilarStore

            store = SqliteSimilarStore(tmp_path / "home" / "similar.db", seal=seal)
        opened.append(store)
        return store

    yield open_it
    for store in opened:
        store.close()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def similar_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SimilarStore]:
    """An empty similar store of every kind."""
    store: SimilarStore
    if request.param == "memory":
        store = MemorySimilarStore()
    elif request.param == "sqlite":
        from tierflow.caching.similar.sqlite_store import SqliteSimilarStore

        store = SqliteSimilarStore(tmp_path / "home" / "similar.db")
    else:
        from tierflow.caching.similar.postgres_store import PostgresSimilarStore

        url = SecretStr(request.getfixturevalue("postgres_url"))
        store = PostgresSimilarStore(url, poll_s=0.01)
    yield store
    store.close()
