"""Accounts: every call of a step is in the ledger, and together they cost what the step cost."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conftest import Catalogue
from tests.fakes import Fail, FakeProvider, Say
from tests.tasks.conftest import Rows
from tests.tasks.ways import Way, both_ways, plain
from tierflow import Answer, Cascade, agreement
from tierflow.errors import AllDeploymentsFailedError
from tierflow.routing import Case
from tierflow.routing.judges import Score

pytestmark = both_ways

JUDGED = Cascade("frontier", agreement("standard"), max_loss=None)


def said(text: str) -> Say:
    return Say(text, input_tokens=1000, output_tokens=100)


@pytest.fixture
def tiers(catalogue: Catalogue, provider: FakeProvider) -> None:
    catalogue(fast=["down", "fast"])
    provider.script("down", Fail(503))
    provider.script("fast", said("a"))
    provider.script("standard", said("b"))
    provider.script("frontier", said("c"))


@pytest.fixture
def answer(way: Way, tiers: None) -> Answer[Any]:
    return way.step(plain, cascade=JUDGED)("Why?")


def test_each_call_says_what_it_was_for_and_how_it_ended(answer: Answer[Any], calls: Rows) -> None:
    told = [(each["role"], each["tier"], each["outcome"]) for each in calls()]
    assert told == [
        ("answer", "fast", "ProviderDownError"),
        ("answer", "fast", "ok"),
        ("judge", "standard", "ok"),
        ("answer", "frontier", "ok"),
    ]
    assert {each["ref"] for each in calls()} == {answer.ref}


def test_the_calls_cost_what_the_step_cost(answer: Answer[Any], calls: Rows, rows: Rows) -> None:
    (row,) = rows()
    assert row["ref"] == answer.ref
    assert sum(each["cost_usd"] for each in calls()) == pytest.approx(row["cost_usd"])
    assert sum(each["input_tokens"] for each in calls()) == row["input_tokens"]


def test_calls_stand_in_the_order_in_which_they_began(answer: Answer[Any], calls: Rows) -> None:
    began = [each["at"] for each in calls()]
    assert began == sorted(began)
    assert all(each["latency_ms"] > 0 for each in calls())


def test_a_hit_made_no_calls_and_has_a_reference_of_its_own(
    way: Way, answer: Answer[Any], calls: Rows, rows: Rows
) -> None:
    before = len(calls())
    hit = way.step(plain, cascade=JUDGED)("Why?")
    assert hit.cache == "exact"
    assert hit.ref not in {"", answer.ref}
    assert len(calls()) == before
    assert [row["ref"] for row in rows()] == [answer.ref, hit.ref]


@pytest.mark.usefixtures("tiers")
def test_a_step_that_failed_has_its_calls_too(
    way: Way, provider: FakeProvider, calls: Rows, rows: Rows
) -> None:
    provider.script("fast", Fail(503))
    with pytest.raises(AllDeploymentsFailedError):
        way.step(plain)("Why?")
    (row,) = rows()
    assert [each["outcome"] for each in calls()] == ["ProviderDownError"] * 2
    assert {each["ref"] for each in calls()} == {row["ref"]}


def test_a_row_says_why_cheaper_tiers_were_passed_by(answer: Answer[Any], rows: Rows) -> None:
    (row,) = rows()
    assert answer.tier == "frontier"
    assert row["passed_by"] == "agreement: 0 of 1 agree (standard)"


@pytest.mark.usefixtures("tiers")
def test_a_row_of_an_accepted_answer_says_nothing_of_the_kind(way: Way, rows: Rows) -> None:
    way.step(plain)("Why?")
    (row,) = rows()
    assert row["passed_by"] is None


@dataclass(frozen=True)
class Wordy:
    """A judge of a user's own, which has a lot to say and accepts nothing."""

    name: str = "mine"
    identity: str = "mine"
    threshold: float = 0.5
    tiers: tuple[str, ...] = ()
    logprobs: bool = False

    def score(self, case: Case[Any]) -> Generator[Any, Any, Score]:
        yield from ()
        return Score(0.0, "too\n\nlong " * 99)


@pytest.mark.usefixtures("tiers")
def test_a_judge_of_the_users_own_says_a_line_at_most(way: Way, rows: Rows) -> None:
    way.step(plain, cascade=Cascade("frontier", Wordy(), max_loss=None))("Why?")
    (row,) = rows()
    assert row["passed_by"].startswith("mine: too long too long")
    assert "\n" not in row["passed_by"]
    assert len(row["passed_by"]) == 200
