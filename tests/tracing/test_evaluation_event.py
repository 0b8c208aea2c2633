"""Evaluations, told of a span that ended long ago."""

import pytest
from opentelemetry import trace

from tests.conftest import Catalogue
from tests.fakes import FakeProvider, Say
from tests.tasks.ways import Way, plain
from tierflow.tracing import names
from tierflow.tracing.evaluation_event import emit_evaluation

from .conformance import faults_of_event
from .emitted import Emitted

OF_STEP = {names.STEP: "plain", names.TIER: "fast"}


def test_an_evaluation_is_an_event_in_the_context_of_the_span_it_is_about(
    catalogue: Catalogue, provider: FakeProvider, emitted: Emitted
) -> None:
    catalogue()
    provider.script("fast", Say("here"))
    answer = Way(is_async=False).step(plain)("Where is it?")
    emitted.clear()

    emit_evaluation(
        "helpful", 0.5, "fair", "so so", answer.trace_id, answer.span_id, "resp-1", OF_STEP
    )

    (record,) = (each.log_record for each in emitted.events())
    assert record.event_name == "gen_ai.evaluation.result"
    assert trace.format_trace_id(record.trace_id or 0) == answer.trace_id
    assert trace.format_span_id(record.span_id or 0) == answer.span_id
    assert dict(record.attributes or {}) == {
        "gen_ai.evaluation.name": "helpful",
        "gen_ai.evaluation.score.value": 0.5,
        "gen_ai.evaluation.score.label": "fair",
        "gen_ai.evaluation.explanation": "so so",
        "gen_ai.response.id": "resp-1",
    }
    assert faults_of_event(str(record.event_name), dict(record.attributes or {}), "v1.41.1") == []


def test_evaluations_are_counted_by_name_and_label_and_their_scores_are_a_histogram(
    project: object, emitted: Emitted
) -> None:
    del project
    for label, score in (("good", 1.0), ("good", 0.5), ("bad", 0.0)):
        emit_evaluation("helpful", score, label, None, None, None, None, OF_STEP)

    series = emitted.series()
    counted = {
        each.labels["gen_ai.evaluation.score.label"]: each.value
        for each in series
        if each.metric == "tierflow.evaluations"
    }
    assert counted == {"good": 2, "bad": 1}
    scores = [each for each in series if each.metric == "tierflow.evaluation.score"]
    assert sum(each.value for each in scores) == 1.5
    assert {each.labels["tierflow.step"] for each in scores} == {"plain"}


def test_an_evaluation_without_score_label_or_span_is_an_event_all_the_same(
    project: object, emitted: Emitted
) -> None:
    del project
    emit_evaluation("seen", None, None, None, None, None, None, {})

    (record,) = (each.log_record for each in emitted.events())
    assert dict(record.attributes or {}) == {"gen_ai.evaluation.name": "seen"}
    assert not record.trace_id
    assert "tierflow.evaluation.score" not in {each.metric for each in emitted.series()}


def shout(text: str) -> str:
    return text.upper()


def test_an_explanation_goes_through_the_hook(
    project: object, emitted: Emitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    del project
    monkeypatch.setenv("TIERFLOW_TELEMETRY__REDACT", f"{__name__}:shout")
    emit_evaluation("helpful", 1.0, None, "it is", None, None, None, {})

    (record,) = (each.log_record for each in emitted.events())
    assert dict(record.attributes or {})["gen_ai.evaluation.explanation"] == "IT IS"
