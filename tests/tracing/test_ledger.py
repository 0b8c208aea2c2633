"""Ledger: rows in and out, by many writers, and what is said when it cannot be used."""

import multiprocessing
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from tierflow.errors import StoreError
from tierflow.settings import settings as settings_in_force
from tierflow.tracing import Ended, Row, is_aside, open_ledger
from tierflow.tracing.sql_ledger import SqlLedger

from .rows import a_call, a_row


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "ledger.db"


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, path: Path) -> Path | SecretStr:
    """Where a ledger may be: in a file, or on a server."""
    if request.param == "postgres":
        return SecretStr(request.getfixturevalue("postgres_url"))
    return path


@pytest.fixture
def ledger(place: Path | SecretStr) -> Iterator[SqlLedger]:
    opened = SqlLedger(place)
    yield opened
    opened.close()


@pytest.fixture
def file_ledger(path: Path) -> Iterator[SqlLedger]:
    opened = SqlLedger(path)
    yield opened
    opened.close()


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
number = st.floats(allow_nan=False, allow_infinity=False)
any_row = st.builds(
    a_row,
    step=text,
    model=text,
    tenant=text,
    input_tokens=st.integers(0, 2**63 - 1),
    passed_by=st.none() | text,
    cost_usd=st.none() | number,
    latency_ms=number,
    ttft_ms=st.none() | number,
    trace_id=st.none() | text,
)


def test_a_flow_runs_rows_come_back_as_they_were_oldest_first(ledger: SqlLedger) -> None:
    rows = [a_row(step=step, cost_usd=None, trace_id="t") for step in "cab"]
    for row in rows:
        ledger.add(row)
    ledger.add(a_row(flow_run_id="another"))

    assert ledger.of_flow_run("run") == rows
    assert ledger.of_flow_run("nobody") == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(any_row)
def test_every_row_survives_the_store(ledger: SqlLedger, row: Row) -> None:
    ledger.add(row)

    assert ledger.of_flow_run("run")[-1] == row


def test_the_calls_of_a_flow_run_are_those_of_its_steps(ledger: SqlLedger) -> None:
    judged = [a_call(ref="one"), a_call(ref="one", role="judge", cost_usd=None, estimated=True)]
    ledger.add(a_row(ref="one"), judged)
    ledger.add(a_row(ref="two", flow_run_id="another"), [a_call(ref="two")])
    ledger.add(a_row(ref="three"), [a_call(ref="three", outcome="ProviderDownError")])

    found = ledger.calls_of_flow_run("run")
    assert found == [*judged, a_call(ref="three", outcome="ProviderDownError")]
    assert ledger.calls_of_flow_run("nobody") == []


def test_an_answer_is_found_by_its_reference(ledger: SqlLedger) -> None:
    ledger.add(a_row(ref="one", step="triage"))
    assert ledger.find("one") == a_row(ref="one", step="triage")
    assert ledger.find("two") is None


def test_a_task_runs_answers_are_found_oldest_first(ledger: SqlLedger) -> None:
    rows = [a_row(ref=ref, task_run_id="task") for ref in "ba"]
    for row in [*rows, a_row(ref="c", task_run_id="another"), a_row(ref="d")]:
        ledger.add(row)

    assert ledger.of_task_run("task") == rows
    assert ledger.of_task_run("nobody") == []


def test_how_steps_ended_is_counted_by_the_way_they_went(ledger: SqlLedger) -> None:
    for outcome in ("ok", "ok", "UnparseableReplyError"):
        ledger.add(a_row(outcome=outcome))
    ledger.add(a_row(model="b"))
    ledger.add(a_row(step="urgency", at="2025-12-31T23:59:59.999+00:00", arm="v2/candidate"))

    def way(**fields: Any) -> Ended:
        given: dict[str, Any] = {"step": "triage", "tier": "fast", "model": "a", "arm": ""}
        return Ended(**(given | fields))

    urgency = way(step="urgency", arm="v2/candidate", count=1, ok=1)
    triage = [way(count=3, ok=2), way(model="b", count=1, ok=1)]
    assert ledger.ended() == [*triage, urgency]
    assert ledger.ended(since="2026-01-01T00:00:00.000+00:00") == triage
    assert ledger.ended(step="urgency") == [urgency]
    assert ledger.ended(step="nothing") == []


@pytest.mark.parametrize("kind", ["audit", "calibration", "evaluation", "route", "training"])
def test_what_is_asked_beside_a_steps_answers_is_known_by_its_name(kind: str) -> None:
    assert is_aside(f"triage ({kind})")
    assert not is_aside("triage")
    assert not is_aside(kind)


def test_the_last_flow_run_is_the_one_that_wrote_last(ledger: SqlLedger) -> None:
    assert ledger.last_flow_run() is None

    for flow_run_id in ("one", "two", "one", None):
        ledger.add(a_row(flow_run_id=flow_run_id))

    assert ledger.last_flow_run() == "one"


def test_a_closed_ledger_opens_again_with_its_rows(ledger: SqlLedger) -> None:
    ledger.add(a_row())
    ledger.close()
    ledger.close()

    assert ledger.of_flow_run("run") == [a_row()]


def test_nothing_is_opened_before_it_is_used(project: Path) -> None:
    ledger = open_ledger(settings_in_force())

    assert not (project / ".tierflow").exists()
    ledger.add(a_row())
    assert (project / ".tierflow" / "ledger.db").exists()
    ledger.close()


def test_a_new_home_is_for_its_owner_only(file_ledger: SqlLedger, path: Path) -> None:
    file_ledger.add(a_row())

    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_row_is_durable_when_add_returns(file_ledger: SqlLedger, path: Path) -> None:
    file_ledger.add(a_row())

    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT step FROM answers_v4").fetchall() == [("triage",)]


def test_every_field_of_a_row_has_a_column(ledger: SqlLedger) -> None:
    ledger.add(a_row())

    inside: Any = ledger
    with inside._database.connection() as connection:
        table: sa.Table = inside._answers.table
        columns = sa.inspect(connection).get_columns(table.name, table.schema)
    optional = {column["name"]: column["nullable"] for column in columns}
    assert optional.keys() == {"id", *(field.name for field in fields(Row))}
    assert not optional["step"]
    assert optional["cost_usd"]


def test_threads_that_open_a_new_ledger_together_lose_no_row(ledger: SqlLedger) -> None:
    together = threading.Barrier(8)

    def write(number: int) -> None:
        together.wait()
        for _ in range(5):
            ledger.add(a_row(step=str(number)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))

    assert sorted(row.step for row in ledger.of_flow_run("run")) == sorted("01234567" * 5)


def add_rows(place: Path | SecretStr, together: threading.Barrier, step: str) -> None:
    """Write five rows as a worker of its own would."""
    ledger = SqlLedger(place)
    together.wait()
    for _ in range(5):
        ledger.add(a_row(step=step))
    ledger.close()


def test_processes_that_open_a_new_ledger_together_lose_no_row(
    ledger: SqlLedger, place: Path | SecretStr
) -> None:
    spawn = multiprocessing.get_context("spawn")
    with spawn.Manager() as manager, ProcessPoolExecutor(3, mp_context=spawn) as pool:
        together = manager.Barrier(3)
        for written in [pool.submit(add_rows, place, together, step) for step in "abc"]:
            written.result()

    assert sorted(row.step for row in ledger.of_flow_run("run")) == sorted("abc" * 5)


def test_a_damaged_file_is_named_with_what_to_do(file_ledger: SqlLedger, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database" * 100)

    for use in (lambda: file_ledger.add(a_row()), file_ledger.last_flow_run):
        with pytest.raises(StoreError, match=r"ledger\.db cannot be used: file is not a database"):
            use()


def test_a_damaged_ledger_works_again_once_it_is_moved_away(
    file_ledger: SqlLedger, path: Path
) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreError):
        file_ledger.add(a_row())

    path.rename(path.with_suffix(".old"))
    file_ledger.add(a_row())

    assert file_ledger.of_flow_run("run") == [a_row()]


def test_a_home_that_is_a_file_is_named(file_ledger: SqlLedger, path: Path) -> None:
    path.parent.write_text("not a folder")

    with pytest.raises(StoreError, match="cannot be used"):
        file_ledger.add(a_row())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_home_without_rights_is_named(file_ledger: SqlLedger, path: Path) -> None:
    path.parent.mkdir(mode=0o500)

    with pytest.raises(StoreError, match="cannot be used"):
        file_ledger.add(a_row())
