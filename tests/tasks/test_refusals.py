"""Refusals: what a step was told last is kept, so that others learn why its gate is closed."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.conftest import Catalogue
from tests.fakes import FakeProvider
from tests.tasks.conftest import Calibrate
from tests.tasks.remainders import (
    ITEMS,
    Remainder,
    a_cascade,
    a_step,
    answer,
    ask,
    cheaply,
    seventh,
)
from tests.tasks.ways import Way, both_ways
from tierflow import Prompt
from tierflow.routing.gate import Calibrations, Consult, State, TellClosed, open_calibrations
from tierflow.settings import settings
from tierflow.tasks import hands
from tierflow.tasks.spec import Surroundings

FEW = ITEMS[:150]
PROVEN: dict[str, Any] = {"max_loss": 0.05}


def changed(number: str) -> Prompt:
    return Prompt(prefix="What is left after dividing by 7?", ask=number)


changed.__name__ = ask.__name__


@pytest.fixture(autouse=True)
def tiers(catalogue: Catalogue, provider: FakeProvider) -> None:
    catalogue()
    provider.script("fast", cheaply)
    provider.script("frontier", seventh)


@pytest.fixture(params=["sqlite", "postgres"], autouse=True)
def kept_in(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep everything in files, or on a server."""
    if request.param == "postgres":
        monkeypatch.setenv("TIERFLOW_STORE_URL", request.getfixturevalue("postgres_url"))


@pytest.fixture
def store(kept_in: None, tiers: None) -> Iterator[Calibrations]:
    opened = open_calibrations(settings())
    yield opened
    opened.close()


@both_ways
def test_a_step_without_a_calibration_is_known_to_run(way: Way, store: Calibrations) -> None:
    before = time.time()
    answer(way)

    found = store.refusal("ask@fast")
    assert found is not None
    assert (found.cause, found.calibration) == ("missing", None)
    assert "tierflow judge calibrate" in found.reason
    assert before <= found.at <= time.time()
    assert store.steps() == ["ask@fast"]


@both_ways
def test_it_is_kept_once_a_run(way: Way, store: Calibrations) -> None:
    step = way.step(ask, returns=Remainder, cascade=a_cascade(**PROVEN))

    def at(now: float, run: str) -> float:
        def then(around: Surroundings) -> Surroundings:
            where = replace(around.where, flow_run_id=run)
            return replace(around, where=where, now=lambda: now)

        step.within(then, str(int(now)))
        found = store.refusal("ask@fast")
        assert found is not None
        return found.at

    assert [at(1.0, "a"), at(2.0, "a"), at(3.0, "b"), at(4.0, "b"), at(5.0, "a")] == [1, 1, 3, 3, 3]


@both_ways
def test_a_calibration_of_another_prompt_than_in_use_is_found_out(
    way: Way, store: Calibrations, calibrate: Calibrate
) -> None:
    calibrate(a_step(**PROVEN), FEW)
    newest = store.newest("ask@fast")
    assert newest is not None

    assert answer(way, prompt=changed, **PROVEN).tier == "frontier"

    found = store.refusal("ask@fast")
    assert found is not None
    assert (found.cause, found.calibration) == ("foreign", newest.id)
    assert "another prompt" in found.reason


@both_ways
def test_an_open_gate_tells_nothing(way: Way, store: Calibrations, calibrate: Calibrate) -> None:
    calibrate(a_step(**PROVEN), FEW)
    assert answer(way, **PROVEN).tier == "fast"
    assert store.refusal("ask@fast") is None


def test_after_a_new_calibration_the_same_cause_is_news(store: Calibrations) -> None:
    mine = hands()
    for number, proof in enumerate([None, None, "one", "one", "two"]):
        told = TellClosed("ask@fast", "foreign", "Another.", None, float(number), proof)
        mine.perform(told)
    found = store.refusal("ask@fast")
    assert found is not None
    assert (found.at, found.calibration) == (4, "two")
    mine.perform(TellClosed("ask@fast", "foreign", "Another.", None, 5.0, "two"))
    assert store.refusal("ask@fast") == found


def test_a_doubt_that_the_next_call_settles_is_not_kept(store: Calibrations) -> None:
    mine = hands()
    mine.perform(TellClosed("ask@fast", "in doubt", "The next call looks again.", None, 1.0, "one"))
    assert store.refusal("ask@fast") is None
    assert mine.perform(Consult("ask@fast")).state == State()
