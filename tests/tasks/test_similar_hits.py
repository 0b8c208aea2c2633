"""Similar questions: from nothing proven to hits, over the real encoder and real stores."""

import pickle
import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Catalogue
from tests.fakes import FakeProvider, Say
from tests.tasks.conftest import Rows
from tests.tasks.paraphrases import (
    ALWAYS_CHECK,
    FRESH,
    LESSONS,
    MATTER_OF,
    TERMS,
    about,
    question_in,
    says_matter,
)
from tests.tasks.ways import Way, both_ways
from tierflow import Answer, Chunk, Usage
from tierflow.caching.store import Selection
from tierflow.tasks import close_hands, hands

pytestmark = both_ways


def observations(home: Path) -> list[dict[str, Any]]:
    """Read what was learned, past the code that is tested."""
    with closing(sqlite3.connect(home / "similar.db")) as similar:
        similar.row_factory = sqlite3.Row
        found = similar.execute("SELECT * FROM observations_v1 ORDER BY seq").fetchall()
    return [dict(row) for row in found]


def questions(home: Path) -> int:
    """Count the questions that are kept, past the code that is tested."""
    with closing(sqlite3.connect(home / "similar.db")) as similar:
        asks = similar.execute("SELECT ask FROM questions_v1 WHERE ask IS NOT NULL").fetchall()
    return len(asks)


def first_hit(step: Any) -> Answer[Any]:
    """Ask what nobody asked before until a similar question's answer is served."""
    return next(each for each in map(step, FRESH) if each.cache == "semantic")


def test_nothing_is_served_before_the_promise_is_proven_and_most_after(
    *,
    way: Way,
    catalogue: Catalogue,
    provider: FakeProvider,
    encoding: Path,
    rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(random, "random", random.Random(1).random)
    catalogue()
    provider.script("fast", says_matter)
    step = way.step(about, cache=TERMS)
    found = [step(each) for each in LESSONS + FRESH]
    uses = [each.cache for each in found]
    served = uses.index("semantic")
    assert 20 < served < 120
    # What is served is right, here always, and what is not served is asked for.
    assert [each.value for each in found] == [MATTER_OF[each] for each in LESSONS + FRESH]
    assert uses[-40:].count("semantic") >= 30
    assert uses[served:].count("miss") == len(provider.calls) - served
    hits = [row for row in rows() if row["cache"] == "semantic"]
    assert len(hits) == uses.count("semantic")
    assert {(row["cost_usd"], row["asks"], row["outcome"]) for row in hits} == {(0.0, 0, "ok")}
    assert all(row["saved_usd"] > 0 for row in hits)
    # Checks go on among the hits.
    audits = [each for each in observations(encoding) if each["source"] == "audit"]
    assert len(audits) > 10
    assert {each["right"] for each in audits} == {1}


def test_a_hit_costs_nothing_and_says_who_answered(
    way: Way, taught: Path, provider: FakeProvider
) -> None:
    del taught
    chunks: list[Chunk] = []
    hit = first_hit(way.step(about, cache=TERMS, on_chunk=chunks.append))
    assert (hit.cost_usd, hit.usage, hit.replies) == (0.0, Usage(), ())
    assert (hit.tier, hit.model) == ("fast", "fast")
    assert hit.saved_usd == pytest.approx((100 + 10 * 10) / 1e6)
    assert chunks[-1] == Chunk(hit.text, "fast", "fast", attempt=0)
    assert hit.value not in {question_in(call.body) for call in provider.calls}


def test_what_was_asked_word_for_word_comes_from_the_exact_cache(way: Way, taught: Path) -> None:
    del taught
    step = way.step(about, cache=TERMS)
    assert step(LESSONS[0]).cache == "exact"


def test_sampled_hits_are_asked_all_the_same_and_teach(
    way: Way, taught: Path, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "random", ALWAYS_CHECK)
    before = len(observations(taught))
    step = way.step(about, cache=TERMS)
    assert {step(each).cache for each in FRESH} == {"miss"}
    assert len(provider.calls) == len(FRESH)
    audits = [each for each in observations(taught)[before:] if each["source"] == "audit"]
    assert len(audits) >= 30
    assert max(each["weight"] for each in audits) > 1


def test_a_run_may_refresh_what_similar_questions_are_served(
    way: Way, taught: Path, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    del taught
    monkeypatch.setenv("TIERFLOW_CACHE__MODE", "refresh")
    step = way.step(about, cache=TERMS)
    assert {step(each).cache for each in FRESH[:10] + LESSONS[:10]} == {"miss"}
    assert len(provider.calls) == 20


def test_a_question_whose_answer_is_gone_is_not_served_and_goes_too(
    way: Way, taught: Path, provider: FakeProvider
) -> None:
    before = questions(taught)
    hands().store.invalidate(Selection())
    step = way.step(about, cache=TERMS)
    assert step(FRESH[0]).cache == "miss"
    assert len(provider.calls) == 1
    # One went, and the new one came.
    assert questions(taught) == before


# --- rejected answers


def test_a_rejected_hit_takes_its_answer_and_its_question_away_and_counts_against(
    way: Way, taught: Path
) -> None:
    step = way.step(about, cache=TERMS)
    hit = first_hit(step)
    answers, asked = hands().store.stats().entries, questions(taught)
    hit.reject()
    assert answers - hands().store.stats().entries == asked - questions(taught) == 1
    last = observations(taught)[-1]
    assert (last["source"], last["right"], last["would_serve"]) == ("feedback", 0, 1)


def test_a_rejected_exact_answer_is_asked_for_anew_and_replaces_its_question(
    way: Way, taught: Path, provider: FakeProvider
) -> None:
    step = way.step(about, cache=TERMS)
    before = questions(taught)
    step(LESSONS[0]).reject()
    provider.script("fast", Say("a better answer"))
    again = step(LESSONS[0])
    assert (again.value, again.cache) in {
        ("a better answer", "miss"),
        (MATTER_OF[LESSONS[0]], "semantic"),
    }
    assert questions(taught) <= before


def test_an_answer_can_be_rejected_after_a_journey_and_in_another_process_s_place(
    way: Way, taught: Path
) -> None:
    step = way.step(about, cache=TERMS)
    hit = first_hit(step)
    travelled: Answer[Any] = pickle.loads(pickle.dumps(hit))  # made a line above
    assert travelled == hit
    close_hands()
    travelled.reject()
    assert observations(taught)[-1]["source"] == "feedback"


def test_many_rejections_throw_the_proof_away(way: Way, taught: Path) -> None:
    del taught
    step = way.step(about, cache=TERMS)
    uses: list[str] = []
    for each in FRESH:
        answer = step(each)
        uses.append(answer.cache)
        if answer.cache == "semantic":
            answer.reject()
    first_miss = uses.index("miss")
    assert 1 <= first_miss <= 10
    # Until it is proven anew.
    assert uses[first_miss:][:10] == ["miss"] * 10
