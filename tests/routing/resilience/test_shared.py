"""Shared: what several workers make of one file, or of one database. Real ones, both."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.postgres import PostgresServer
from tierflow.errors import StoreError
from tierflow.routing.resilience import Breaker, Level
from tierflow.routing.resilience.sql_shared import SqlShared

ROOT = Path(__file__).resolve().parents[3]
STATE = Breaker(2, 11.5, 3, 12.5, True, 13.5, 14.5, "me")  # all fields, in order


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | SecretStr:
    if request.param == "sqlite":
        return tmp_path / "home" / "breakers.db"
    return SecretStr(request.getfixturevalue("postgres_url"))


@pytest.fixture
def shared(place: Path | SecretStr) -> Iterator[SqlShared]:
    with closing(SqlShared(place)) as opened:
        yield opened


def struck(breaker: Breaker, _now: float) -> Breaker:
    return replace(breaker, strikes=breaker.strikes + 1)


def test_where_nothing_was_told_there_is_nothing(shared: SqlShared) -> None:
    assert shared.read()[1] == {}


def test_reading_makes_no_file(tmp_path: Path) -> None:
    with closing(SqlShared(tmp_path / "breakers.db")) as shared:
        shared.read()
    assert list(tmp_path.iterdir()) == []


def test_what_one_tells_another_reads_field_by_field(
    shared: SqlShared, place: Path | SecretStr
) -> None:
    shared.change_breaker("a", lambda _, __: STATE)
    with closing(SqlShared(place)) as other:
        at, breakers = other.read()
        assert breakers == {"a": STATE}
        assert abs(at - shared.read()[0]) < 60
        _, level = other.change_level("a", lambda _, now: Level(2.5, now))
        assert shared.change_level("a", lambda before, _: before)[1] == level


def test_a_change_that_changes_nothing_is_not_written(shared: SqlShared) -> None:
    shared.change_breaker("a", lambda before, _: before)
    assert shared.read()[1] == {}


def test_no_change_of_many_at_once_is_lost(shared: SqlShared, place: Path | SecretStr) -> None:
    with closing(SqlShared(place)) as other, ThreadPoolExecutor(4) as pool:

        def strike(store: SqlShared) -> None:
            store.change_breaker("a", struck)

        list(pool.map(strike, [shared, other] * 20))
    assert shared.read()[1]["a"].strikes == 40


def test_one_of_many_gets_the_probe(shared: SqlShared, place: Path | SecretStr) -> None:
    def lease(breaker: Breaker, now: float, owner: str) -> Breaker:
        if breaker.probe_until > now:
            return breaker
        return replace(breaker, probe_owner=owner, probe_until=now + 60)

    with closing(SqlShared(place)) as other, ThreadPoolExecutor(4) as pool:

        def take(owner: str) -> bool:
            store = other if int(owner) % 2 else shared
            _, breaker = store.change_breaker("a", lambda it, now: lease(it, now, owner))
            return breaker.probe_owner == owner

        assert sum(pool.map(take, map(str, range(20)))) == 1


CHILD = """
import sys
from dataclasses import replace
from pathlib import Path
from tierflow.routing.resilience.sql_shared import SqlShared
shared = SqlShared(Path(sys.argv[1]))
for _ in range(50):
    shared.change_breaker("a", lambda it, now: replace(it, strikes=it.strikes + 1))
shared.close()
"""


def test_processes_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "breakers.db"
    command = [sys.executable, "-c", CHILD, str(path)]
    children = [subprocess.Popen(command, cwd=ROOT) for _ in range(2)]
    assert [child.wait(120) for child in children] == [0, 0]
    with closing(SqlShared(path)) as shared:
        assert shared.read()[1]["a"].strikes == 100
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("damage", ["'x'", "NULL", "x'00'"])
def test_a_row_that_cannot_be_read_counts_as_none(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "breakers.db"
    with closing(SqlShared(path)) as shared:
        shared.change_breaker("a", lambda _, __: STATE)
        with closing(sqlite3.connect(path)) as plain, plain:
            plain.execute("PRAGMA ignore_check_constraints=ON")
            plain.execute("PRAGMA writable_schema=ON")
            plain.execute("UPDATE sqlite_schema SET sql = replace(sql, ' NOT NULL', '')")
        with closing(sqlite3.connect(path)) as plain, plain:
            plain.execute(f"UPDATE breakers_v1 SET open_until = {damage}")
        shared.close()
        assert shared.read()[1] == {"a": Breaker()}
        assert shared.change_breaker("a", struck)[1].strikes == 1


def test_a_file_that_is_none_is_a_store_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "breakers.db").mkdir()
    with (
        closing(SqlShared(tmp_path / "breakers.db")) as shared,
        pytest.raises(StoreError, match=r"breakers\.db cannot be used"),
    ):
        shared.change_breaker("a", struck)


def test_a_server_that_is_gone_is_a_store_error_and_comes_back(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    with closing(SqlShared(SecretStr(postgres_url))) as shared:
        shared.change_breaker("a", struck)
        postgres_server.stop()
        try:
            with pytest.raises(StoreError, match="cannot be used") as caught:
                shared.read()
        finally:
            postgres_server.start()
        assert postgres_server.password not in str(caught.value)
        assert shared.change_breaker("a", struck)[1].strikes in {1, 2}
