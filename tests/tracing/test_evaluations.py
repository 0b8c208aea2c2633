"""Evaluations: in and out of the store, which of them count, and what is refused."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from tierflow.errors import EvaluationError, StoreError
from tierflow.sealing import Seal
from tierflow.settings import settings as settings_in_force
from tierflow.tracing.evaluations import (
    Counted,
    Evaluation,
    evaluation_of,
    open_evaluations,
    scores_of,
)
from tierflow.tracing.evaluations.sql_store import SqlEvaluations
from tierflow.tracing.sql_ledger import SqlLedger

from .evaluated import an_evaluation
from .rows import a_row

SECRET = "the customer's name is Zebedee"


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | SecretStr:
    """Where evaluations may be: in a file, or on a server."""
    if request.param == "postgres":
        return SecretStr(request.getfixturevalue("postgres_url"))
    return tmp_path / "home" / "ledger.db"


@pytest.fixture
def store(place: Path | SecretStr) -> Iterator[SqlEvaluations]:
    with closing(SqlEvaluations(place)) as opened:
        yield opened


def text_of(place: Path) -> str:
    """All that is in the file and beside it."""
    return "".join(each.read_bytes().decode("latin-1") for each in place.parent.iterdir())


def test_what_was_found_of_an_answer_comes_back_oldest_first(store: SqlEvaluations) -> None:
    found = [
        an_evaluation(id="b", explanation="it rhymes"),
        an_evaluation(id="a", score=None, label="fail", source="judge", evaluator="standard"),
    ]
    for each in (*found, an_evaluation(ref="another")):
        store.add(each)

    assert store.of_answer("answer") == found
    assert store.of_answer("nobody's") == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text())
def test_every_explanation_survives_the_store(store: SqlEvaluations, text: str) -> None:
    store.add(an_evaluation(explanation=text))

    assert store.of_answer("answer")[-1].explanation == text


def test_what_the_same_evaluator_finds_later_counts_instead(store: SqlEvaluations) -> None:
    store.add(an_evaluation(score=0.0))
    store.add(an_evaluation(score=1.0))
    store.add(an_evaluation(score=0.5, evaluator="somebody else"))

    assert store.scores("run") == {"triage": (0.75, 2)}
    assert [each.total for each in store.counted()] == [1.5]
    assert len(store.of_answer("answer")) == 3


def test_what_one_person_says_last_under_any_name_is_told_apart(store: SqlEvaluations) -> None:
    store.add(an_evaluation(name="satisfaction", score=0.0))
    store.add(an_evaluation(name="helpful", score=1.0))
    store.add(an_evaluation(name="tone", score=None, label="kind"))
    store.add(an_evaluation(name="satisfaction", score=0.5, evaluator="somebody else"))

    assert {(each.name, each.total): each.last for each in store.counted() if each.scored} == {
        ("satisfaction", 0.5): True,
        ("helpful", 1.0): True,
        ("satisfaction", 0.0): False,
    }


def test_scores_are_those_of_one_flow_run_by_step(store: SqlEvaluations) -> None:
    for number, step in enumerate(("triage", "triage", "urgency")):
        store.add(an_evaluation(ref=str(number), step=step, score=number / 2))
    store.add(an_evaluation(ref="3", score=None, label="pass"))
    store.add(an_evaluation(ref="4", flow_run_id="another", score=0.9))

    assert store.scores("run") == {"triage": (0.25, 2), "urgency": (1.0, 1)}
    assert store.scores("nobody's") == {}


def test_evaluations_are_counted_by_all_but_their_score(store: SqlEvaluations) -> None:
    judged: dict[str, Any] = {"name": "safety", "source": "judge", "label": "pass"}
    for number in range(3):
        store.add(an_evaluation(ref=str(number), **judged))
    store.add(an_evaluation(ref="3", at="2025-12-31T00:00:00.000+00:00", **judged))
    store.add(an_evaluation(ref="4", **judged | {"label": "fail", "score": None}))
    store.add(an_evaluation(ref="5", step="urgency"))

    def of(label: str, **fields: Any) -> Counted:
        return Counted(
            step="triage",
            tier="fast",
            model="a",
            arm="",
            name="safety",
            source="judge",
            label=label,
            **fields,
        )

    failed = of("fail", count=1, scored=0, total=0.0, last=False)
    recent = [failed, of("pass", count=3, scored=3, total=3.0)]
    assert store.counted(since="2026-01-01", step="triage") == recent
    assert store.counted(step="triage") == [failed, of("pass", count=4, scored=4, total=4.0)]
    assert [each.step for each in store.counted()] == ["triage", "triage", "urgency"]


def test_an_explanation_is_sealed_where_the_cache_is(tmp_path: Path) -> None:
    place, key = tmp_path / "ledger.db", Fernet.generate_key().decode()
    with closing(SqlEvaluations(place, seal=Seal([key]))) as sealing:
        sealing.add(an_evaluation(explanation=SECRET))
        assert sealing.of_answer("answer")[0].explanation == SECRET
        assert "Zebedee" not in text_of(place)
    with closing(SqlEvaluations(place)) as without:
        assert without.of_answer("answer")[0].explanation is None
    with closing(SqlEvaluations(place, seal=Seal([Fernet.generate_key().decode()]))) as other:
        assert other.of_answer("answer") == [an_evaluation()]


def test_an_explanation_that_was_moved_to_another_row_is_not_read(tmp_path: Path) -> None:
    place = tmp_path / "ledger.db"
    with closing(SqlEvaluations(place)) as store:
        store.add(an_evaluation(id="one", explanation="bad"))
        store.add(an_evaluation(id="two", explanation="good"))
    with closing(sqlite3.connect(place)) as file:
        file.execute(
            "UPDATE evaluations_v1 SET explanation = "
            "(SELECT explanation FROM evaluations_v1 WHERE id = 'two')"
        )
        file.commit()
    with closing(SqlEvaluations(place)) as store:
        assert [each.explanation for each in store.of_answer("answer")] == [None, "good"]


def test_they_stand_beside_the_ledger_of_the_settings(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIERFLOW_CACHE__ENCRYPTION_KEYS", Fernet.generate_key().decode())
    with closing(open_evaluations(settings_in_force())) as store:
        assert not (project / ".tierflow").exists()
        store.add(an_evaluation(explanation=SECRET))
    with closing(SqlLedger(project / ".tierflow" / "ledger.db")) as ledger:
        ledger.add(a_row())
        assert ledger.find("answer") == a_row()
    assert scores_of("run") == {"triage": (1.0, 1)}
    assert "Zebedee" not in text_of(project / ".tierflow" / "ledger.db")


def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    place = tmp_path / "ledger.db"
    place.write_bytes(b"this is no database" * 100)
    with (
        closing(SqlEvaluations(place)) as store,
        pytest.raises(StoreError, match=r"ledger\.db cannot be used: file is not a database"),
    ):
        store.add(an_evaluation())


def found(**fields: Any) -> Evaluation:
    given: dict[str, Any] = {"name": "helpful", "score": 0.5}
    given |= fields
    return evaluation_of(a_row(), given.pop("name"), id_="one", at="now", **given)


def test_an_evaluation_has_what_the_row_says_of_its_answer() -> None:
    row = a_row(arm="v2/candidate", tenant="acme", trace_id="t", span_id="s")
    evaluation = evaluation_of(row, "helpful", id_="one", at="now", score=True)
    assert evaluation == an_evaluation(
        at="now", name="helpful", arm="v2/candidate", tenant="acme", trace_id="t", span_id="s"
    )


@pytest.mark.parametrize("score", [0, 0.5, 1, True])
def test_scores_go_from_0_to_1(score: float) -> None:
    assert found(score=score).score == float(score)


@pytest.mark.parametrize("score", [-0.1, 1.1, 5, float("nan"), float("inf"), "good", [1]])
def test_what_is_no_score_is_refused(score: Any) -> None:
    with pytest.raises(EvaluationError, match="goes from 0 to 1"):
        found(score=score)


@pytest.mark.parametrize("word", ["", " x", "no\nsuch", "x" * 65, "a;b", "\0", 7])
def test_a_name_or_label_that_is_no_word_is_refused(word: Any) -> None:
    for field in ("name", "label"):
        with pytest.raises(EvaluationError, match=rf"^{field} is "):
            found(**{field: word})


@pytest.mark.parametrize("evaluator", ["two\nlines", "x" * 129, None])
def test_an_evaluator_without_a_name_of_one_line_is_refused(evaluator: Any) -> None:
    with pytest.raises(EvaluationError, match=r"^evaluator "):
        found(evaluator=evaluator)


def test_a_source_that_is_none_is_refused() -> None:
    with pytest.raises(EvaluationError, match="human, judge, code"):
        found(source="robot")


def test_an_evaluation_that_says_nothing_is_refused() -> None:
    with pytest.raises(EvaluationError, match="says nothing"):
        found(score=None)
    assert found(score=None, label="good").label == "good"


def test_an_explanation_is_not_shown_with_the_evaluation() -> None:
    assert "Zebedee" not in repr(replace(found(), explanation=SECRET))
