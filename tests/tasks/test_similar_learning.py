"""What teaches the similar-question cache: values, functions, judges; and what it does without."""

import logging
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Catalogue
from tests.fakes import FakeProvider, Say
from tests.tasks.asker import Asker
from tests.tasks.conftest import Rows
from tests.tasks.paraphrases import (
    FRESH,
    LESSONS,
    MATTER_OF,
    TERMS,
    about,
    always,
    question_in,
)
from tests.tasks.test_similar_hits import observations
from tests.tasks.ways import Way, both_ways, settled
from tierflow.tasks.spec import Surroundings

REPLY_USD = (100 + 10 * 10) / 1e6


def wordy(provider: FakeProvider) -> None:
    """Have every answer worded anew, and a judge who looks at its last word."""
    words = iter(range(10_000))

    def says(body: dict[str, Any]) -> Say:
        text = f"in the {next(words)}th place, {MATTER_OF[question_in(body)]}"
        return Say(text, input_tokens=100, output_tokens=10)

    def judges(body: dict[str, Any]) -> Say:
        one, other = question_in(body).split("Answer A:\n")[1].split("\n\nAnswer B:\n")
        return Say({"value": same_end(one, other)}, input_tokens=100, output_tokens=10)

    provider.script("fast", says)
    provider.script("standard", judges)


def same_end(one: str, other: str) -> bool:
    """Compare two answers by their last words."""
    return one.rsplit(maxsplit=1)[-1] == other.rsplit(maxsplit=1)[-1]


def with_chance(chance: float) -> Callable[[Surroundings], Surroundings]:
    return lambda around: replace(around, chance=always(chance))


@both_ways
def test_differently_worded_answers_prove_it_by_a_function(
    *,
    way: Way,
    catalogue: Catalogue,
    provider: FakeProvider,
    encoding: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(random, "random", random.Random(1).random)
    catalogue()
    wordy(provider)
    step = way.step(about, cache=replace(TERMS, same=same_end))
    found = [step(each) for each in LESSONS]
    assert [each.cache for each in found[-40:]].count("semantic") >= 10
    seen = observations(encoding)
    assert {each["right"] for each in seen} == {0, 1}
    pairs = zip(found, LESSONS, strict=True)
    assert sum(not each.value.endswith(MATTER_OF[asked]) for each, asked in pairs) == 0


@both_ways
def test_a_judge_compares_texts_and_is_charged(
    *,
    way: Way,
    catalogue: Catalogue,
    provider: FakeProvider,
    encoding: Path,
    rows: Rows,
) -> None:
    catalogue()
    wordy(provider)
    step = way.step(about, cache=replace(TERMS, judge="standard"))
    asks = LESSONS[:12]
    found = [step.within(with_chance(0.0), each) for each in asks]
    judged = [each for each in found if len(each.replies) == 2]
    assert len(judged) == len(provider.calls_to("standard")) == len(observations(encoding)) > 5
    assert all(each.cost_usd == pytest.approx(2 * REPLY_USD) for each in judged)
    paid = sum(row["cost_usd"] for row in rows())
    assert paid == pytest.approx(REPLY_USD * len(provider.calls))
    assert {each["weight"] for each in observations(encoding)} == {10.0}
    # Far from being served, most are not put to the judge.
    assert [len(step.within(with_chance(0.5), each).replies) for each in FRESH[:6]] == [1] * 6


@both_ways
def test_damage_is_said_once_and_steps_go_on(
    *,
    way: Way,
    taught: Path,
    provider: FakeProvider,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settled()
    for file in taught.glob("similar.db*"):
        file.write_bytes(b"no database " * 1000)
    step = way.step(about, cache=TERMS)
    found = [step(each) for each in FRESH[:5]]
    assert [each.value for each in found] == [MATTER_OF[each] for each in FRESH[:5]]
    assert len(provider.calls) == 5
    said = [each.message for each in caplog.records if each.levelno >= logging.WARNING]
    assert len(said) == 1
    assert str(taught / "similar.db") in said[0]
    # The exact cache is another file.
    assert step(FRESH[0]).cache == "exact"


def test_what_one_process_learned_serves_another(
    project: Path, taught: Path, provider: FakeProvider, asker: Asker
) -> None:
    """Hits there from what was taught here, and hits here of what it asked."""
    asker.go_to(project)
    uses = [asker.ask("about", each).cache for each in FRESH]
    assert uses.count("semantic") >= 20
    assert uses.count("miss") == len(provider.calls)
    seen = len(observations(taught))
    step = Way(is_async=False).step(about, cache=TERMS)
    missed = [each for each, use in zip(FRESH, uses, strict=True) if use == "miss"]
    assert {step(each).cache for each in missed} == {"exact"}
    assert len(observations(taught)) == seen


def test_a_rejection_in_one_process_counts_in_another(
    project: Path, taught: Path, asker: Asker
) -> None:
    step = Way(is_async=False).step(about, cache=TERMS)
    asker.go_to(project)
    # Any one of them may be a sampled check.
    assert "semantic" in {asker.ask("about", each).cache for each in FRESH[:6]}
    rejected = 0
    for each in FRESH[6:-5]:
        if (answer := step(each)).cache == "semantic":
            answer.reject()
            rejected += 1
        elif rejected >= 5:
            break
    assert rejected >= 5
    assert {asker.ask("about", each).cache for each in FRESH[-3:]} == {"miss"}
    with closing(sqlite3.connect(taught / "similar.db")) as similar:
        (count,) = similar.execute(
            "SELECT count(*) FROM observations_v1 WHERE source = 'feedback'"
        ).fetchone()
    assert count == rejected
