"""The gate's store: what is known of judges, kept by many processes, in a file or on a server."""

import multiprocessing
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from tierflow.errors import StoreError
from tierflow.routing.gate import (
    Audit,
    Closed,
    Drift,
    Hand,
    Refusal,
    State,
    decide,
    open_calibrations,
)
from tierflow.routing.gate.sql_store import SqlCalibrations
from tierflow.settings import settings as settings_in_force

from .labels import BOUND_TO, NOW, a_calibration

LATER = NOW + 10


def test_nothing_is_known_at_first(store: SqlCalibrations) -> None:
    assert store.newest("triage") is None
    assert store.state("triage") == State()
    assert store.audits("triage") == []
    assert store.refusal("triage") is None
    assert store.steps() == []


def test_the_newest_calibration_of_a_step_is_the_one_added_last(store: SqlCalibrations) -> None:
    first, second = a_calibration(at=NOW + 5), a_calibration(at=NOW)
    for each in (first, second, a_calibration(step="other", at=NOW + 9)):
        store.add(each)

    assert store.newest("triage") == second
    assert store.state("triage").calibration == second.id
    assert store.steps() == ["other", "triage"]


def test_what_was_kept_is_there_after_closing(store: SqlCalibrations) -> None:
    store.add(a_calibration())
    store.audit("triage", right=False, at=LATER)
    store.close()
    store.close()

    assert store.newest("triage") == a_calibration()
    assert store.state("triage").audited == 1


def test_audits_count_for_the_newest_calibration_and_raise_the_alarm(
    store: SqlCalibrations,
) -> None:
    store.add(a_calibration())
    watch, alarms = Drift(a_calibration().watch_floor), 0
    while not watch.alarm:
        right = watch.count % 3 == 0
        assert store.audit("triage", right=right, at=LATER + watch.count) == watch.add(right)
        alarms += watch.alarm

    found = store.state("triage")
    assert alarms == 1
    assert (found.audited, found.right, found.evidence) == (watch.count, watch.right, 1.0)
    assert found.alarmed_at == LATER + watch.count - 1
    # It stays, and keeps its time.
    assert store.audit("triage", right=True, at=LATER + 1000)
    assert store.state("triage").alarmed_at == found.alarmed_at
    decided = decide(store.newest("triage"), BOUND_TO, LATER, state=store.state("triage"))
    assert isinstance(decided, Closed)
    assert decided.cause == "drift"


def test_a_new_calibration_ends_an_alarm(store: SqlCalibrations) -> None:
    store.add(a_calibration())
    while not store.audit("triage", right=False, at=LATER):
        pass

    store.add(a_calibration(at=LATER))

    assert store.state("triage") == State(a_calibration(at=LATER).id)
    assert not store.audit("triage", right=False, at=LATER)


def test_a_late_label_of_an_older_answer_is_kept_but_does_not_count(
    store: SqlCalibrations,
) -> None:
    store.add(a_calibration())

    assert not store.audit("triage", right=False, at=NOW - 1, stratum="easy")

    assert store.state("triage").audited == 0
    assert store.audits("triage") == [Audit("triage", "easy", right=False, at=NOW - 1)]


def test_audits_without_a_calibration_are_kept(store: SqlCalibrations) -> None:
    assert not store.audit("triage", right=True, at=NOW)

    assert store.state("triage") == State()
    assert [each.right for each in store.audits("triage")] == [True]


def test_the_newest_audits_come_oldest_first(store: SqlCalibrations) -> None:
    for at in range(5):
        store.audit("triage", right=at % 2 == 0, at=float(at))
    store.audit("other", right=True, at=9.0)

    assert [each.at for each in store.audits("triage", limit=3)] == [2, 3, 4]


def test_a_hand_is_kept_through_calibrations_and_taken_back_by_a_hand(
    store: SqlCalibrations,
) -> None:
    store.set_state("triage", closed=True, why="bad labels", who="ada", at=NOW)
    assert store.state("triage").hand == Hand(closed=True, why="bad labels", who="ada", at=NOW)

    store.add(a_calibration())
    assert store.state("triage").hand is not None

    store.set_state("triage", closed=False, why="fixed", who="bob", at=LATER)
    assert store.state("triage").hand == Hand(closed=False, why="fixed", who="bob", at=LATER)
    assert store.state("triage").calibration == a_calibration().id


def test_what_a_step_was_told_last_is_kept(store: SqlCalibrations) -> None:
    first = Refusal("triage", "missing", "It has none.", NOW)
    last = Refusal("triage", "foreign", "It is of another prompt.", LATER, a_calibration().id)
    for each in (first, last, Refusal("other", "missing", "It has none.", NOW)):
        store.refuse(each)

    assert store.refusal("triage") == last
    assert store.steps() == ["other", "triage"]
    # Another process was told this before.
    store.refuse(first)
    assert store.refusal("triage") == last


def test_a_store_of_an_older_version_goes_on_with_what_it_holds(
    store: SqlCalibrations, place: Path | SecretStr
) -> None:
    store.add(a_calibration())
    store.audit("triage", right=True, at=LATER)
    inside: Any = store
    with inside._database.connection() as connection:
        for table in (inside._tables.refusals, inside._tables.reviews):
            table.drop(connection)
    store.close()

    newer = SqlCalibrations(place)
    newer.refuse(Refusal("triage", "foreign", "It is of another prompt.", LATER))

    assert newer.newest("triage") == a_calibration()
    assert newer.state("triage").audited == 1
    assert newer.refusal("triage") is not None
    newer.close()


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(step=text, why=text, prompt=text)
def test_every_word_survives_the_store(
    store: SqlCalibrations, step: str, why: str, prompt: str
) -> None:
    made = a_calibration(step=step, prompt=prompt)
    store.add(made)
    store.set_state(step, closed=True, why=why, who=step, at=NOW)

    assert store.newest(step) == made
    hand = store.state(step).hand
    assert hand is not None
    assert (hand.why, hand.who) == (why, step)


def test_threads_that_audit_together_lose_no_label(store: SqlCalibrations) -> None:
    store.add(a_calibration())
    together = threading.Barrier(6)

    def audit(number: int) -> None:
        together.wait()
        for _ in range(5):
            store.audit("triage", right=number > 0, at=LATER)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(audit, range(6)))

    assert (store.state("triage").audited, store.state("triage").right) == (30, 25)


def audit_many(place: Path | SecretStr, together: threading.Barrier) -> None:
    """Audit as a worker of its own would, in a store that nobody has opened yet."""
    store = SqlCalibrations(place)
    together.wait()
    for _ in range(10):
        store.audit("triage", right=True, at=LATER)
    store.add(a_calibration(at=NOW))
    together.wait()
    for number in range(10):
        store.audit("triage", right=number % 2 == 0, at=LATER)
    store.close()


def test_processes_that_audit_together_lose_no_label(
    store: SqlCalibrations, place: Path | SecretStr
) -> None:
    spawn = multiprocessing.get_context("spawn")
    with spawn.Manager() as manager, ProcessPoolExecutor(2, mp_context=spawn) as pool:
        together = manager.Barrier(2)
        for done in [pool.submit(audit_many, place, together) for _ in range(2)]:
            done.result()

    found = store.state("triage")
    assert found.calibration == a_calibration().id
    assert (found.audited, found.right) == (20, 10)
    assert len(store.audits("triage")) == 40


def change(store: SqlCalibrations, table: str, **values: Any) -> None:
    inside: Any = store
    changed = getattr(inside._tables, table)
    with inside._database.connection() as connection:
        connection.execute(sa.update(changed).values(values))


def test_a_calibration_that_cannot_be_read_is_an_error_and_not_none(
    store: SqlCalibrations,
) -> None:
    store.add(a_calibration())
    change(store, "calibrations", body='{"version": 9}')

    with pytest.raises(StoreError, match="tierflow judge calibrate"):
        store.newest("triage")


@pytest.mark.parametrize("damage", ['{"version": 9}', '{"version": 1}', "no json", "[1]", None])
def test_a_watch_that_cannot_be_read_is_an_error_until_a_new_calibration(
    store: SqlCalibrations, damage: Any
) -> None:
    store.add(a_calibration())
    change(store, "gates", drift=damage)

    for use in (
        lambda: store.state("triage"),
        lambda: store.audit("triage", right=True, at=LATER),
    ):
        with pytest.raises(StoreError, match="tierflow judge calibrate"):
            use()

    store.add(a_calibration(at=LATER))
    assert store.state("triage").audited == 0


def test_a_damaged_file_is_named_with_what_to_do(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreError, match=r"judges\.db cannot be used: file is not a database"):
        SqlCalibrations(path).newest("triage")


def test_the_settings_name_the_store_and_nothing_is_opened_before_it_is_used(
    project: Path,
) -> None:
    store = open_calibrations(settings_in_force())
    assert not (project / ".tierflow").exists()

    store.add(a_calibration())

    assert (project / ".tierflow" / "judges.db").exists()
    store.close()
