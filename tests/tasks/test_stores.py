"""Stores that cannot be used cost money or a report, never an answer; one log line says so."""

import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import Catalogue
from tests.fakes import FakeProvider, Say
from tests.tasks.conftest import Rows
from tests.tasks.ways import Way, both_ways, plain
from tierflow.tasks import close_hands

pytestmark = both_ways
Obstacle = Callable[[Path], None]


def a_file_in_place_of_home(home: Path) -> None:
    home.write_text("not a folder")


def a_file_in_place_of_the_cache(home: Path) -> None:
    home.mkdir()
    (home / "cache").write_text("not a folder")


def a_foreign_database_in_place_of_the_cache(home: Path) -> None:
    (home / "cache").mkdir(parents=True)
    a_foreign_database(home / "cache" / "cache.db", "Cache")


def a_foreign_table_in_place_of_the_ledger(home: Path) -> None:
    home.mkdir()
    a_foreign_database(home / "ledger.db", "answers_v4")


def a_folder_in_place_of_the_ledger(home: Path) -> None:
    (home / "ledger.db").mkdir(parents=True)


def garbage_in_place_of_the_ledger(home: Path) -> None:
    home.mkdir()
    (home / "ledger.db").write_bytes(b"no database " * 1000)


def a_foreign_database(path: Path, table: str) -> None:
    with closing(sqlite3.connect(path)) as foreign:
        foreign.execute(f"CREATE TABLE {table} (weight REAL)")
        foreign.commit()


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.fixture
def home(project: Path) -> Path:
    return project / ".tierflow"


@pytest.mark.parametrize(
    "obstacle", [a_file_in_place_of_the_cache, a_foreign_database_in_place_of_the_cache]
)
def test_without_a_cache_a_step_answers_and_one_line_says_what_to_do(
    *,
    way: Way,
    catalogue: Catalogue,
    provider: FakeProvider,
    home: Path,
    rows: Rows,
    caplog: pytest.LogCaptureFixture,
    obstacle: Obstacle,
) -> None:
    catalogue()
    obstacle(home)
    provider.script("fast", Say("still here"))
    step = way.step(plain)
    assert [step("?").value for _ in range(3)] == ["still here"] * 3
    assert len(provider.calls) == 3
    (said,) = warnings_in(caplog)
    assert str(home / "cache") in said
    assert "TIERFLOW_CACHE__MODE=off" in said
    assert "The step goes on without it." in said
    assert [row["outcome"] for row in rows()] == ["ok"] * 3


@pytest.mark.parametrize(
    "obstacle",
    [
        a_folder_in_place_of_the_ledger,
        garbage_in_place_of_the_ledger,
        a_foreign_table_in_place_of_the_ledger,
    ],
)
def test_without_a_ledger_a_step_answers_and_one_line_says_what_to_do(
    *,
    way: Way,
    catalogue: Catalogue,
    provider: FakeProvider,
    home: Path,
    caplog: pytest.LogCaptureFixture,
    obstacle: Obstacle,
) -> None:
    catalogue()
    obstacle(home)
    provider.script("fast", Say("still here"))
    step = way.step(plain)
    assert [step("?").cache for _ in range(3)] == ["miss", "exact", "exact"]
    (said,) = warnings_in(caplog)
    assert str(home / "ledger.db") in said
    assert "move it away" in said


def test_without_a_home_a_step_answers_and_each_store_is_named_once(
    way: Way,
    catalogue: Catalogue,
    provider: FakeProvider,
    home: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    catalogue()
    a_file_in_place_of_home(home)
    provider.script("fast", Say("still here"))
    step = way.step(plain)
    assert [step("?").value for _ in range(2)] == ["still here"] * 2
    said = warnings_in(caplog)
    assert len(said) == 2
    assert any(str(home / "cache") in each for each in said)
    assert any(str(home / "ledger.db") in each for each in said)


def test_a_damaged_cache_costs_its_answers_and_nothing_else(
    way: Way, catalogue: Catalogue, provider: FakeProvider, home: Path, rows: Rows
) -> None:
    catalogue()
    provider.script("fast", Say("still here"))
    step = way.step(plain)
    step("?")
    close_hands()
    (home / "cache" / "cache.db").write_bytes(b"no database " * 1000)
    with pytest.warns(RuntimeWarning, match="is damaged"):
        assert step("?").cache == "miss"
    assert step("?").cache == "exact"
    assert len(rows()) == 3


def test_a_setting_moves_the_stores(
    way: Way,
    catalogue: Catalogue,
    provider: FakeProvider,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    catalogue()
    elsewhere = home.with_name("elsewhere")
    monkeypatch.setenv("TIERFLOW_HOME", str(elsewhere))
    provider.script("fast", Say("x"))
    way.step(plain)("?")
    assert (elsewhere / "cache" / "cache.db").is_file()
    assert (elsewhere / "ledger.db").is_file()
    assert not home.exists()
