"""The route store: what was learned, kept by many processes, in a file or on a server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from tierflow.errors import StoreError
from tierflow.routing.routes import ConsultingRoutes
from tierflow.routing.routes.sql_store import SqlRoutes

from .recorded import a_route


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "routes.db"


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, path: Path) -> Path | SecretStr:
    if request.param == "postgres":
        return SecretStr(request.getfixturevalue("postgres_url"))
    return path


@pytest.fixture
def store(place: Path | SecretStr) -> Iterator[SqlRoutes]:
    opened = SqlRoutes(place)
    yield opened
    opened.close()


def test_nothing_is_known_at_first(store: SqlRoutes) -> None:
    assert store.newest("triage") is None
    assert store.newest_id("triage") is None
    assert store.steps() == []


def test_the_newest_route_of_a_step_is_the_one_added_last(store: SqlRoutes) -> None:
    store.add(a_route())
    first = store.newest_id("triage")
    store.add(a_route("other"))
    assert store.newest_id("triage") == first
    store.add(a_route())
    assert store.newest_id("triage") != first
    store.close()
    newest = store.newest("triage")
    assert newest is not None
    assert newest.offers == a_route().offers
    assert store.steps() == ["other", "triage"]


def test_a_newer_route_is_taken_up_after_a_moment(
    store: SqlRoutes, place: Path | SecretStr
) -> None:
    now = 0.0
    consulting = ConsultingRoutes(lambda: SqlRoutes(place), lambda: now)
    assert consulting.known("triage") is None
    store.add(a_route())
    assert consulting.known("triage") is None
    now += 3
    found = consulting.known("triage")
    assert found is not None
    now += 3
    assert consulting.known("triage") is found, "what is known is not read again"
    store.add(a_route())
    now += 3
    assert consulting.known("triage") is not found
    consulting.close()


def test_a_route_that_was_added_here_is_known_at_once(place: Path | SecretStr) -> None:
    consulting = ConsultingRoutes(lambda: SqlRoutes(place), lambda: 0.0)
    assert consulting.known("triage") is None
    consulting.add(a_route())
    assert consulting.known("triage") is not None
    consulting.close()


def test_a_damaged_route_is_an_error_that_names_the_remedy(path: Path) -> None:
    store = SqlRoutes(path)
    store.add(a_route())
    store.close()
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE learned_routes_v1 SET body = substr(body, 1, 900)"))
    engine.dispose()
    with pytest.raises(StoreError, match="tierflow route learn"):
        store.newest("triage")
    store.close()
