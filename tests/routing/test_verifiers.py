"""Verifiers: what is computed of a reply. Nobody is asked."""

import re
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import Catalogue
from tests.fakes import FakeProvider, Say
from tests.tasks.ways import Way, both_ways, plain
from tierflow import Cascade, matches, passes
from tierflow.routing import Case, Judge, Parsed, Question, Score, Trail

from .world import World, a_reply, a_request, a_tier, scripted


def judged(judge: Judge, text: str, value: object = None) -> Score:
    """Judge a reply without anybody to ask. `value`: the text if None."""
    question: Question[Any] = Question(a_request(), str, Trail())
    parsed: Parsed[Any] = Parsed(a_reply(text), text if value is None else value)
    world = World(scripted())
    score: Score = world.run(judge.score(Case(question, a_tier("fast", "fast"), parsed, {})))
    assert not world.asks
    return score


@dataclass
class Order:
    number: str | None


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        (r"\d{4}", "Order 1234 is here.", 1.0),
        (r"\A\d{4}\Z", "Order 1234 is here.", 0.0),
        (r"(?i)ORDER", "order", 1.0),
        (r"", "", 1.0),
    ],
)
def test_a_pattern_is_looked_for_in_the_replys_text(
    pattern: str, text: str, expected: float
) -> None:
    assert judged(matches(pattern), text).value == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Order("AB-1"), 1.0),
        (Order("1"), 0.0),
        (Order(None), 0.0),
        ({"number": "AB-1"}, 1.0),
        ({"other": "AB-1"}, 0.0),
        ("AB-1", 0.0),
    ],
)
def test_a_pattern_is_looked_for_in_a_field_of_the_value(value: object, expected: float) -> None:
    assert judged(matches("^[A-Z]{2}-", of="number"), "AB-1", value).value == expected


def test_a_verdict_quotes_no_reply() -> None:
    assert "secret" not in judged(matches("x"), "secret").reason


def test_pattern_and_field_are_in_the_identity() -> None:
    judges = [matches("a"), matches("b"), matches("a", of="a"), matches("a", of="b")]
    assert len({judge.identity for judge in judges}) == len(judges)
    assert matches("a").identity == matches("a").identity


@given(st.text())
def test_a_text_matches_itself(text: str) -> None:
    assert judged(matches(rf"\A{re.escape(text)}\Z"), text).value == 1


def test_what_is_no_pattern_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="is no regular expression"):
        matches("(")


def is_short(value: str) -> bool:
    return len(value) < 10


def is_lower(value: str) -> bool:
    return value.islower()


@pytest.mark.parametrize(
    ("text", "expected", "reason"),
    [
        ("yes", 1.0, "2 of 2 passed"),
        ("Yes", 0.5, "1 of 2 passed; failed: is_lower"),
        ("Yes, of course", 0.0, "0 of 2 passed; failed: is_short, is_lower"),
    ],
)
def test_checks_score_by_the_share_that_passes_and_name_the_others(
    text: str, expected: float, reason: str
) -> None:
    assert judged(passes(is_short, is_lower), text) == Score(expected, reason)


def test_all_checks_must_pass_unless_a_threshold_says_otherwise() -> None:
    assert passes(is_short, is_lower).threshold == 1


def test_every_check_is_in_the_identity() -> None:
    identities = {passes(is_short).identity, passes(is_short, is_lower).identity}
    assert len(identities) == 2


def test_no_checks_are_refused() -> None:
    with pytest.raises(ValueError, match="has no checks"):
        passes()


@both_ways
@pytest.mark.parametrize(("said", "tier"), [("AB-12", "fast"), ("It is AB-12", "frontier")])
def test_a_step_escalates_what_does_not_match(
    way: Way, said: str, tier: str, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    for model in ("fast", "frontier"):
        provider.script(model, Say(said))
    rule = Cascade(to="frontier", judge=matches(r"\A[A-Z]{2}-\d+\Z"), max_loss=None)

    assert way.step(plain, cascade=rule)("Which order?").tier == tier
