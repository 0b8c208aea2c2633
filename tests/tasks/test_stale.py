"""Stale answers: served at once, and refreshed by one call behind the back of whoever asks."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.conftest import Catalogue
from tests.fakes import Fail, FakeProvider, Say
from tests.tasks.conftest import Rows
from tests.tasks.ways import Way, both_ways, plain, settled
from tierflow import Chunk, ExactCache
from tierflow.tasks.spec import Surroundings

pytestmark = both_ways

TERMS = ExactCache(ttl_s=60.0, stale_s=600.0)


def ago(seconds: float) -> Callable[[Surroundings], Surroundings]:
    """Return what puts a step so far back in time, as far as what it keeps is concerned."""
    return lambda around: replace(around, now=lambda: time.time() - seconds)


def test_a_stale_answer_is_served_at_once_and_one_call_refreshes_it(
    way: Way, catalogue: Catalogue, provider: FakeProvider, rows: Rows
) -> None:
    catalogue()
    provider.script("fast", [Say("old"), Say("new")])
    step = way.step(plain, cache=TERMS)
    assert step.within(ago(100), "?").value == "old"
    stale = step("?")
    assert (stale.value, stale.cache, stale.cost_usd) == ("old", "exact", 0.0)
    settled()
    fresh = step("?")
    assert (fresh.value, fresh.cache) == ("new", "exact")
    settled()
    assert len(provider.calls) == 2
    told = sorted((row["cache"], row["asks"], row["cost_usd"] > 0) for row in rows())
    assert told == [("exact", 0, False)] * 2 + [("miss", 1, True)] * 2
    assert {row["outcome"] for row in rows()} == {"ok"}


def test_a_stale_answer_that_is_asked_for_many_times_is_refreshed_once(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    provider.script("fast", [Say("old"), Say("new", delay_s=0.2)])
    step = way.step(plain, cache=TERMS)
    step.within(ago(100), "?")
    assert {step("?").cache for _ in range(8)} == {"exact"}
    settled()
    assert len(provider.calls) == 2
    assert step("?").value == "new"


def test_after_its_last_day_an_answer_is_asked_for_again(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    provider.script("fast", [Say("old"), Say("new")])
    step = way.step(plain, cache=TERMS)
    step.within(ago(700), "?")
    answer = step("?")
    assert (answer.value, answer.cache) == ("new", "miss")


def test_without_stale_s_an_old_answer_is_asked_for_again(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    provider.script("fast", [Say("old"), Say("new")])
    step = way.step(plain, cache=ExactCache(ttl_s=60.0))
    step.within(ago(100), "?")
    assert (step("?").value, step("?").cache) == ("new", "exact")


@pytest.mark.parametrize("status", [400, 500])
def test_a_refresh_that_fails_is_logged_and_the_stale_answer_stays(
    *,
    way: Way,
    catalogue: Catalogue,
    provider: FakeProvider,
    rows: Rows,
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    catalogue()
    provider.script("fast", [Say("old"), Fail(status), Say("new")])
    step = way.step(plain, cache=TERMS)
    step.within(ago(100), "?")
    assert step("?").value == "old"
    settled()
    said = [each.message for each in caplog.records if each.levelno >= logging.WARNING]
    assert [each.startswith("A stale answer could not be refreshed: ") for each in said] == [True]
    assert sorted(row["outcome"] == "ok" for row in rows()) == [False, True, True]
    assert step("?").value == "old"
    settled()
    assert step("?").value == "new"


def test_a_listener_hears_the_stale_answer_and_nothing_of_the_refresh(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    provider.script("fast", [Say("old news"), Say("new words")])
    heard: list[Chunk] = []
    step = way.step(plain, cache=TERMS, on_chunk=heard.append)
    step.within(ago(100), "?")
    heard.clear()
    step("?")
    settled()
    assert len(provider.calls) == 2
    assert [chunk.text for chunk in heard] == ["old ", "news"]


def test_a_run_that_keeps_nothing_new_refreshes_nothing(
    way: Way, catalogue: Catalogue, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue()
    provider.script("fast", Say("old"))
    step = way.step(plain, cache=TERMS)
    step.within(ago(100), "?")
    monkeypatch.setenv("TIERFLOW_CACHE__MODE", "read-only")
    assert step("?").cache == "exact"
    settled()
    assert len(provider.calls) == 1
