"""Audits by people: a sample of what was accepted waits for them. Real sockets, real stores."""

import base64
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Catalogue
from tests.fakes import FakeProvider
from tests.fakes.steps import Step
from tests.tasks.conftest import Calibrate, Rows
from tests.tasks.remainders import (
    ITEMS,
    Remainder,
    a_cascade,
    a_step,
    answer,
    by_size,
    cheaply,
    otherwise,
    said,
    seventh,
)
from tests.tasks.ways import Way, both_ways, settled
from tierflow import llm_task
from tierflow.routing.gate import Calibrations, Reviews, open_calibrations, open_reviews
from tierflow.settings import settings
from tierflow.tasks.proving.calibration import prove
from tierflow.tasks.proving.collecting import collect

KEY = base64.urlsafe_b64encode(bytes([1]) * 32).decode()
FEW = ITEMS[:150]
PEOPLE: dict[str, Any] = {"max_loss": 0.05, "audit": 1.0, "audit_by": "people"}


@pytest.fixture(autouse=True)
def tiers(catalogue: Catalogue, provider: FakeProvider) -> None:
    catalogue()
    provider.script("fast", cheaply)
    provider.script("frontier", seventh)


@pytest.fixture(params=["sqlite", "postgres"])
def kept_in(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep everything in files, or on a server."""
    if request.param == "postgres":
        monkeypatch.setenv("TIERFLOW_STORE_URL", request.getfixturevalue("postgres_url"))


@pytest.fixture
def proven(tiers: None, provider: FakeProvider, calibrate: Calibrate) -> None:
    """A gate that is open."""
    calibrate(a_step(**PEOPLE), FEW)
    provider.reset()
    provider.script("fast", cheaply)
    provider.script("frontier", seventh)


@pytest.fixture
def queue(tiers: None) -> Iterator[Reviews]:
    opened = open_reviews(settings())
    yield opened
    opened.close()


@pytest.fixture
def store(tiers: None) -> Iterator[Calibrations]:
    opened = open_calibrations(settings())
    yield opened
    opened.close()


@both_ways
@pytest.mark.usefixtures("kept_in", "proven")
def test_people_are_asked_instead_of_the_strongest_tier(
    way: Way, provider: FakeProvider, queue: Reviews
) -> None:
    assert answer(way, "5", **PEOPLE).tier == "fast"
    settled()

    (waiting,) = queue.waiting()
    assert (waiting.gate, waiting.stratum) == ("ask@fast", "all")
    assert (waiting.ask, waiting.answer) == ("5", '{"left":5}')
    assert not provider.calls_to("frontier")


@both_ways
def test_to_wait_for_people_costs_nothing(way: Way, proven: None, rows: Rows) -> None:
    answer(way, "5", **PEOPLE)
    settled()
    assert {row["step"] for row in rows()} - {"ask (calibration)"} == {"ask"}


@both_ways
def test_only_what_was_accepted_waits(way: Way, proven: None, queue: Reviews) -> None:
    assert answer(way, "350", **PEOPLE).tier == "frontier"
    assert answer(way, "5", **PEOPLE | {"audit": 0.0}).tier == "fast"
    settled()
    assert queue.waiting() == []


@both_ways
def test_people_who_find_wrong_answers_close_the_gate(
    way: Way, proven: None, queue: Reviews, store: Calibrations
) -> None:
    for number in range(20):
        answer(way, str(number), **PEOPLE)
    settled()
    for each in queue.waiting():
        queue.say(each.id, right=False, who="ada", at=each.at + 1)

    closed = answer(way, "5", **PEOPLE)

    assert closed.tier == "frontier"
    assert "Audits show less than" in closed.verdicts[0].reason
    assert store.state("ask@fast").audited == 20


@both_ways
def test_an_answer_waits_under_its_stratum(way: Way, queue: Reviews, calibrate: Calibrate) -> None:
    step = llm_task(tier="fast", returns=Remainder, cascade=a_cascade(**PEOPLE))(by_size)
    calibrate(step, FEW)

    assert answer(way, "5", by_size, **PEOPLE).tier == "fast"
    settled()

    (waiting,) = queue.waiting()
    assert (waiting.gate, waiting.stratum) == ("by_size@fast", "small")


@both_ways
def test_texts_are_sealed_where_the_cache_is(
    way: Way, proven: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIERFLOW_CACHE__ENCRYPTION_KEYS", KEY)
    answer(way, "5", **PEOPLE)
    settled()

    queue = open_reviews(settings())
    assert [each.ask for each in queue.waiting()] == ["5"]
    queue.close()
    monkeypatch.delenv("TIERFLOW_CACHE__ENCRYPTION_KEYS")
    queue = open_reviews(settings())
    assert [each.ask for each in queue.waiting()] == [None]
    queue.close()


@both_ways
def test_a_queue_that_cannot_be_used_costs_no_answer(
    way: Way, proven: None, project: Path, queue: Reviews, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(sqlite3.connect(project / ".tierflow" / "judges.db")) as file:
        file.execute(
            "CREATE TRIGGER no_room BEFORE INSERT ON judge_reviews_v1 "
            "BEGIN SELECT RAISE(ABORT, 'there is no room'); END"
        )
    with caplog.at_level(logging.WARNING, "tierflow"):
        assert answer(way, "5", **PEOPLE).tier == "fast"
        settled()
    (line,) = [each.message for each in caplog.records if "judges.db" in each.message]
    assert "cannot be used: there is no room" in line
    assert queue.waiting() == []


def test_audits_by_people_are_held_against_what_people_can_see(provider: FakeProvider) -> None:
    def half_wrong(body: dict[str, Any]) -> Step:
        return (otherwise if int(said(body)) % 2 else seventh)(body)

    provider.script("frontier", half_wrong)
    outcomes = collect(a_step(**PEOPLE), "fast", FEW).outcomes

    by_people = prove("ask", "fast", a_cascade(**PEOPLE), outcomes).calibration
    by_tier = prove("ask", "fast", a_cascade(max_loss=0.05), outcomes).calibration

    # The cheap tier is always right here, and the strong one agrees in half of the cases.
    assert by_people.watch_floor == pytest.approx(0.95)
    assert by_tier.watch_floor == pytest.approx(0.45, abs=0.1)
