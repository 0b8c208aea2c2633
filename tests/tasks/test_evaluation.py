"""`record_evaluation`: now or later, by whom ever, and what becomes of it. Real stores, sockets."""

import json
import os
import pickle
import random
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Catalogue
from tests.fakes import FakeProvider, Say
from tests.fakes.backend import FakeBackend
from tests.tasks.conftest import Rows
from tests.tasks.paraphrases import FRESH, TERMS, about
from tests.tasks.teller import told
from tests.tasks.ways import Step, Way, both_ways, plain
from tierflow import Answer, record_evaluation
from tierflow.caching.similar import Served
from tierflow.errors import EvaluationError, StoreError
from tierflow.settings import settings
from tierflow.tasks import close_hands, hands
from tierflow.tasks.rejection import Rejection
from tierflow.tracing.evaluations import Evaluation, open_evaluations

SECRET = "the customer's name is Zebedee"


@pytest.fixture(params=["sqlite", "postgres"])
def kept_in(request: pytest.FixtureRequest, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep everything in files, or on a server."""
    if request.param == "postgres":
        monkeypatch.setenv("TIERFLOW_STORE_URL", request.getfixturevalue("postgres_url"))


@pytest.fixture
def counting(catalogue: Catalogue, provider: FakeProvider) -> None:
    """A model whose answers can be told apart."""
    catalogue()
    said = iter(range(1000))
    provider.script("fast", lambda _: Say(str(next(said)), input_tokens=10, output_tokens=1))


def found_of(ref: str) -> list[Evaluation]:
    """What the store holds of an answer, read by another reader."""
    with closing(open_evaluations(settings())) as store:
        return list(store.of_answer(ref))


@both_ways
@pytest.mark.usefixtures("kept_in", "counting")
class TestRecorded:
    """An evaluation is kept with what the ledger knows of its answer."""

    def test_it_works_in_the_run_and_days_later_from_a_stored_reference(self, way: Way) -> None:
        answer = way.step(plain)("Who?")
        now = record_evaluation(answer, "helpful", score=0.9)
        ref = json.loads(json.dumps({"ref": answer.ref}))["ref"]
        close_hands()
        later = record_evaluation(ref, "helpful", label="good", explanation=SECRET)

        assert found_of(answer.ref) == [now, later]
        assert (later.step, later.tier, later.model) == ("plain", "fast", "fast")
        assert (later.ref, later.flow_run_id, later.rejected) == (answer.ref, None, False)
        assert (later.explanation, later.source) == (SECRET, "human")

    def test_it_works_for_an_answer_that_travelled(self, way: Way) -> None:
        answer = way.step(plain)("Who?")
        travelled: Answer[Any] = pickle.loads(pickle.dumps(answer))  # made a line above
        assert record_evaluation(travelled, "helpful", score=1).ref == answer.ref

    def test_a_hit_is_an_answer_of_its_own(self, way: Way) -> None:
        step = way.step(plain)
        first, hit = step("Who?"), step("Who?")
        assert hit.cache == "exact"
        assert record_evaluation(hit, "helpful", score=0).ref != first.ref
        assert found_of(first.ref) == []

    def test_a_rejected_answer_is_asked_for_anew(self, way: Way) -> None:
        step = way.step(plain)
        answer = step("Who?")
        close_hands()
        assert record_evaluation(answer.ref, "helpful", score=0.1, reject=True).rejected
        again = step("Who?")
        assert (again.value, again.cache) == ("1", "miss")

    def test_a_score_below_the_settings_line_takes_the_answer_back(
        self, way: Way, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TIERFLOW_EVALUATIONS__REJECT_BELOW", '{"helpful": 0.3}')
        step = way.step(plain)
        answer = step("Who?")
        for name, score in (("helpful", 0.3), ("polite", 0.0)):
            assert not record_evaluation(answer, name, score=score).rejected
        assert not record_evaluation(answer, "helpful", label="bad").rejected
        assert step("Who?").cache == "exact"
        assert record_evaluation(answer, "helpful", score=0.29).rejected
        assert step("Who?").cache == "miss"

    def test_an_answer_that_no_cache_keeps_is_not_called_rejected(self, way: Way) -> None:
        answer = way.step(plain, cache=None)("Who?")
        assert not record_evaluation(answer, "helpful", score=0, reject=True).rejected


@both_ways
def test_a_similar_hit_is_taken_back_from_its_stored_reference(
    way: Way, taught: Path, rows: Rows
) -> None:
    step = way.step(about, cache=TERMS)
    hit = first_hit(step)
    close_hands()
    before = hands().store.stats().entries
    assert record_evaluation(hit.ref, "helpful", score=0, reject=True).rejected
    assert hands().store.stats().entries == before - 1
    (row,) = (row for row in rows() if row["ref"] == hit.ref)
    assert hit.rejection == Rejection.read(row["rejection"])
    assert not [ask for ask in FRESH if ask in row["rejection"]]


def first_hit(step: Step) -> Answer[Any]:
    for each in FRESH:
        answer = step(each)
        if answer.cache == "semantic":
            return answer
    raise AssertionError("Nothing was served.")


def test_a_rejection_survives_the_ledger() -> None:
    served = Served("scope", "partition", 7, "value", (0.1, random.random()), 0.3)
    for rejection in (Rejection(KEY), Rejection(KEY, served)):
        assert Rejection.read(rejection.written()) == rejection


KEY: Any = "a key"


@pytest.mark.parametrize("text", ["", "[]", '["key"]', '["key", {"scope": "s"}]', '["key", 7]'])
def test_a_rejection_that_cannot_be_read_says_what_to_do(text: str) -> None:
    with pytest.raises(StoreError, match="tierflow cache invalidate"):
        Rejection.read(text)


@pytest.mark.usefixtures("kept_in")
@pytest.mark.parametrize("ref", ["", "nobody's", "x" * 1000])
def test_an_answer_that_the_ledger_does_not_know_is_refused(ref: str) -> None:
    with pytest.raises(EvaluationError, match="The ledger knows no answer") as caught:
        record_evaluation(ref, "helpful", score=1)
    assert len(str(caught.value)) < 300


@pytest.mark.usefixtures("counting")
def test_nothing_is_kept_of_what_is_refused() -> None:
    answer = Way(is_async=False).step(plain)("Who?")
    with pytest.raises(EvaluationError, match="goes from 0 to 1"):
        record_evaluation(answer, "helpful", score=5, reject=True)
    assert found_of(answer.ref) == []
    assert Way(is_async=False).step(plain)("Who?").cache == "exact"


@pytest.mark.usefixtures("counting")
def test_a_store_that_cannot_be_used_is_said(project: Path) -> None:
    answer = Way(is_async=False).step(plain)("Who?")
    close_hands()
    for each in (project / ".tierflow").glob("ledger.db*"):
        each.unlink()
    (project / ".tierflow" / "ledger.db").write_bytes(b"no database " * 1000)
    with pytest.raises(StoreError, match="ledger"):
        record_evaluation(answer, "helpful", score=1)


# --- what others are told

Told = Callable[..., dict[str, Any]]


@pytest.fixture
def tell(catalogue: Catalogue, provider: FakeProvider, project: Path) -> Told:
    """Have another process record an evaluation."""
    catalogue()
    provider.script("fast", Say("Zebedee"))

    def run(word: str, environ: Mapping[str, str] = {}, **evaluation: Any) -> dict[str, Any]:
        given = {"name": "helpful", "score": 0.5, "label": "fair", "explanation": SECRET}
        return told(project, word, {**given, **evaluation}, {**os.environ, **environ})

    return run


def test_it_is_an_event_on_the_answers_span_and_on_metrics_also_from_another_process(
    tell: Told,
) -> None:
    during = tell("ask")
    later = tell(during["ref"], score=1.0, label=None)
    for said in (during, later):
        (event,) = said["events"]
        assert event["event"] == "gen_ai.evaluation.result"
        assert (event["trace_id"], event["span_id"]) == (during["trace_id"], during["span_id"])
    attributes = during["events"][0]["attributes"]
    assert attributes.pop("gen_ai.response.id").startswith("chatcmpl")
    assert attributes == {
        "gen_ai.evaluation.name": "helpful",
        "gen_ai.evaluation.score.value": 0.5,
        "gen_ai.evaluation.score.label": "fair",
    }
    labels = {
        "gen_ai.evaluation.name": "helpful",
        "gen_ai.evaluation.score.label": "fair",
        "tierflow.step": "plain",
    }
    points = {name: (said, value) for name, said, value in during["points"]}
    assert points["tierflow.evaluations"][1] == 1
    assert points["tierflow.evaluation.score"][1] == 0.5
    for said, _ in points.values():
        assert labels.items() <= said.items()
        assert not {during["ref"], during["trace_id"]} & {str(each) for each in said.values()}
    assert "gen_ai.evaluation.score.label" not in later["events"][0]["attributes"]


@pytest.mark.parametrize(
    ("mode", "is_told"),
    [("NO_CONTENT", False), ("SPAN_ONLY", False), ("event_only", True), ("SPAN_AND_EVENT", True)],
)
def test_an_explanation_is_in_the_event_only_where_content_is(
    tell: Told, mode: str, *, is_told: bool
) -> None:
    said = tell("ask", {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": mode})
    assert ("Zebedee" in json.dumps(said)) is is_told


def test_sinks_of_the_settings_get_it_before_the_process_ends(tell: Told, project: Path) -> None:
    with FakeBackend() as backend:
        path = project / "tierflow.toml"
        sink = f'[evaluations.sinks.mine]\nkind = "phoenix"\nurl = "{backend.url}"\n'
        path.write_text(f"{path.read_text()}\n{sink}")
        said = tell("ask")
        ((annotation,),) = (each.body["data"] for each in backend.posts)
    assert (annotation["span_id"], annotation["name"]) == (said["span_id"], "helpful")
    assert annotation["result"] == {"label": "fair", "score": 0.5}
