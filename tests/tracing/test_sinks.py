"""Sinks: what other programs are told of evaluations, and that nothing waits for them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from typing import Any, Literal, NotRequired

import httpx
import pytest
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from tests.fakes.backend import HANG, FakeBackend
from tierflow.evaluation_settings import SinkSettings
from tierflow.tracing.evaluations import Evaluation
from tierflow.tracing.sinks import Courier, Post, Sinks, open_sinks

from .evaluated import an_evaluation

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
KEYS = {"A_USER": "pk-1", "A_KEY": "sk-1"}
KINDS = ("langfuse", "phoenix", "mlflow")
SECRET = "the customer's name is Zebedee"

STRICT = with_config(ConfigDict(extra="forbid", strict=True))


@STRICT
class Score(TypedDict):
    """Langfuse's CreateScoreRequest, of what we send; numeric scores are numbers, others text."""

    id: str
    traceId: str
    observationId: str
    name: str
    value: float | str
    dataType: Literal["NUMERIC", "CATEGORICAL", "BOOLEAN", "TEXT"]
    timestamp: str
    comment: NotRequired[str]
    metadata: dict[str, Any]


@STRICT
class Result(TypedDict):
    """Phoenix's AnnotationResult."""

    label: NotRequired[str]
    score: NotRequired[float]
    explanation: NotRequired[str]


@STRICT
class Annotation(TypedDict):
    """Phoenix's SpanAnnotationData."""

    name: str
    annotator_kind: Literal["LLM", "CODE", "HUMAN"]
    span_id: str
    result: Result
    metadata: dict[str, Any]
    identifier: str


@STRICT
class Source(TypedDict):
    """MLflow's AssessmentSource."""

    source_type: Literal["HUMAN", "LLM_JUDGE", "CODE"]
    source_id: str


@STRICT
class Feedback(TypedDict):
    """MLflow's Feedback."""

    value: float | str


@STRICT
class Assessment(TypedDict):
    """MLflow's Assessment, with feedback; its metadata are texts."""

    assessment_name: str
    trace_id: str
    span_id: str
    source: Source
    create_time: str
    last_update_time: str
    feedback: Feedback
    rationale: NotRequired[str]
    metadata: dict[str, str]


def judged(**fields: Any) -> Evaluation:
    """A judge's evaluation of an answer with a trace."""
    given: dict[str, Any] = {"name": "helpful", "source": "judge", "evaluator": "standard"}
    return an_evaluation(trace_id=TRACE, span_id=SPAN, **(given | {"score": 0.75} | fields))


@pytest.fixture
def opened() -> Iterator[Callable[..., Sinks]]:
    """Open one sink; it is closed before the server that it is of."""
    with ExitStack() as stack:

        def open_(kind: str, url: str, **options: Any) -> Sinks:
            keys = {"user_env": "A_USER", "key_env": "A_KEY"}
            settings = SinkSettings.model_validate({"kind": kind, "url": url, **keys, **options})
            sinks = open_sinks({"mine": settings}, KEYS)
            stack.callback(sinks.close)
            return sinks

        yield open_


def sent(kind: str, evaluation: Evaluation, **options: Any) -> Any:
    """What a server receives of an evaluation."""
    with FakeBackend() as backend:
        keys = {"user_env": "A_USER", "key_env": "A_KEY"}
        settings = SinkSettings.model_validate(
            {"kind": kind, "url": backend.url, **keys, **options}
        )
        sinks = open_sinks({"mine": settings}, KEYS)
        sinks.send(evaluation)
        (posted,) = backend.wait_for(1)
        sinks.close()
    return posted


def test_langfuse_gets_a_score_of_the_observation() -> None:
    posted = sent("langfuse", judged())
    assert posted.path == "/api/public/scores"
    assert posted.basic == "pk-1:sk-1"
    score = TypeAdapter(Score).validate_python(posted.body)
    assert (score["id"], score["traceId"], score["observationId"]) == ("one", TRACE, SPAN)
    assert (score["name"], score["value"], score["dataType"]) == ("helpful", 0.75, "NUMERIC")
    assert datetime.fromisoformat(score["timestamp"]).tzinfo is not None
    assert score["metadata"] == {
        "tierflow.ref": "answer",
        "tierflow.step": "triage",
        "tierflow.tier": "fast",
        "tierflow.model": "a",
        "tierflow.source": "judge",
        "tierflow.evaluator": "standard",
    }


def test_langfuse_gets_a_label_alone_as_a_category_and_beside_a_score_as_metadata() -> None:
    alone = TypeAdapter(Score).validate_python(
        sent("langfuse", judged(score=None, label="fail")).body
    )
    assert (alone["value"], alone["dataType"]) == ("fail", "CATEGORICAL")
    both = TypeAdapter(Score).validate_python(sent("langfuse", judged(label="good")).body)
    assert (both["value"], both["metadata"]["tierflow.label"]) == (0.75, "good")


@pytest.mark.parametrize(
    ("source", "kind"), [("human", "HUMAN"), ("judge", "LLM"), ("code", "CODE")]
)
def test_phoenix_gets_an_annotation_of_the_span(source: str, kind: str) -> None:
    posted = sent("phoenix", judged(source=source, label="good"), user_env=None)
    assert (posted.path, posted.query) == ("/v1/span_annotations", {"sync": "false"})
    assert posted.headers["authorization"] == "Bearer sk-1"
    assert posted.body.keys() == {"data"}
    (data,) = posted.body["data"]
    annotation = TypeAdapter(Annotation).validate_python(data)
    assert (annotation["span_id"], annotation["name"]) == (SPAN, "helpful")
    assert (annotation["annotator_kind"], annotation["identifier"]) == (kind, "one")
    assert annotation["result"] == {"label": "good", "score": 0.75}


@pytest.mark.parametrize(
    ("source", "kind"), [("human", "HUMAN"), ("judge", "LLM_JUDGE"), ("code", "CODE")]
)
def test_mlflow_gets_feedback_on_the_trace(source: str, kind: str) -> None:
    posted = sent("mlflow", judged(source=source), user_env=None, key_env=None)
    assert posted.path == f"/api/3.0/mlflow/traces/tr-{TRACE}/assessments"
    assert "authorization" not in posted.headers
    assert posted.body.keys() == {"assessment"}
    assessment = TypeAdapter(Assessment).validate_python(posted.body["assessment"])
    assert (assessment["trace_id"], assessment["span_id"]) == (f"tr-{TRACE}", SPAN)
    assert assessment["assessment_name"] == "helpful"
    assert assessment["source"] == {"source_type": kind, "source_id": "standard"}
    assert assessment["feedback"] == {"value": 0.75}
    assert assessment["metadata"]["tierflow.ref"] == "answer"


def test_mlflow_gets_a_label_alone_as_the_value() -> None:
    labelled = judged(score=None, label="fail", evaluator="")
    assessment = sent("mlflow", labelled).body["assessment"]
    assert assessment["feedback"] == {"value": "fail"}
    assert assessment["source"]["source_id"] == "default"
    both = sent("mlflow", judged(label="good")).body["assessment"]
    assert both["metadata"]["tierflow.label"] == "good"


@pytest.mark.parametrize("kind", KINDS)
def test_an_explanation_is_sent_only_where_that_is_asked_for(kind: str) -> None:
    explained = judged(explanation=SECRET)
    assert "Zebedee" not in json.dumps(sent(kind, explained).body)
    assert "Zebedee" in json.dumps(sent(kind, explained, explanations=True).body)


def test_halves_of_characters_are_sent_as_question_marks() -> None:
    posted = sent("phoenix", judged(explanation="a\ud800b"), explanations=True)
    assert posted.body["data"][0]["result"]["explanation"] == "a?b"


def test_evaluations_arrive_in_order(opened: Callable[..., Sinks]) -> None:
    with FakeBackend() as backend:
        sinks = opened("langfuse", f"{backend.url}/")
        for number in range(20):
            sinks.send(judged(id=str(number)))
        assert [each.body["id"] for each in backend.wait_for(20)] == [str(n) for n in range(20)]
        sinks.close()


def test_an_answer_without_a_trace_is_for_the_ledger_only_and_that_is_said_once(
    opened: Callable[..., Sinks], caplog: pytest.LogCaptureFixture
) -> None:
    with FakeBackend() as backend:
        sinks = opened("langfuse", backend.url)
        for _ in range(3):
            sinks.send(an_evaluation())
        sinks.close()
        assert backend.posts == []
    (said,) = caplog.messages
    assert "triage has no trace" in said


def test_a_sink_whose_keys_are_missing_is_left_out_and_names_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = SinkSettings(kind="langfuse", url="http://x", user_env="A_USER", key_env="B_KEY")
    sinks = open_sinks({"mine": settings}, {"A_USER": "pk-1"})
    sinks.send(judged())
    sinks.close()
    assert caplog.messages == ["Sink mine gets no evaluations: set B_KEY."]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"kind": "langfuse", "url": "http://x"}, "needs user_env and key_env"),
        ({"kind": "mlflow", "url": "http://x", "user_env": "A"}, "user_env needs key_env"),
        ({"kind": "phoenix", "url": "ftp://x"}, "url"),
        ({"kind": "phoenix", "url": "http://"}, "no host"),
        ({"kind": "phoenix", "url": "http://me:secret@x"}, "a user in it"),
        ({"kind": "phoenix", "url": "http://x:99999"}, "out of range"),
        ({"kind": "datadog", "url": "http://x"}, "kind"),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, str], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        SinkSettings.model_validate(wrong)


def couriers(url: str, **options: Any) -> Courier:
    """A courier without patience."""
    given: dict[str, Any] = {"pauses": (0.0, 0.0), **options}
    return Courier("mine", lambda: httpx.Client(base_url=url, timeout=5), **given)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_what_may_help_is_tried_again(status: int) -> None:
    with FakeBackend(status, status) as backend:
        courier = couriers(backend.url)
        courier.send(Post("/a", {}))
        assert [each.path for each in backend.wait_for(3)] == ["/a"] * 3
        courier.close()


@pytest.mark.parametrize("status", [302, 400, 401, 404, 422])
def test_what_cannot_help_is_not_tried_again_and_is_said_once(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    with FakeBackend(status, status) as backend:
        courier = couriers(backend.url)
        for path in ("/a", "/a", "/c"):
            courier.send(Post(path, {"secret": SECRET}))
        assert [each.path for each in backend.wait_for(3)] == ["/a", "/a", "/c"]
        courier.close()
    (said,) = caplog.messages
    assert said.startswith(f"Sink mine: the server answers {status} to /a")
    assert "what the server thinks" not in said
    assert "Zebedee" not in said


def test_a_trace_that_is_on_its_way_is_waited_for() -> None:
    with FakeBackend(404) as backend:
        courier = couriers(backend.url)
        courier.send(Post("/a", {}, passing=frozenset({404})))
        backend.wait_for(2)
        courier.close()


def test_a_retry_after_is_heeded() -> None:
    with FakeBackend(429, 429, 429, retry_after="3600") as backend:
        courier = couriers(backend.url)
        courier.send(Post("/a", {}))
        backend.wait_for(1)
        courier.close(30)
        # The end does not sit it out: it tries once more, and no third time.
        assert len(backend.posts) == 2


def test_a_server_that_is_down_is_said_once_and_costs_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with FakeBackend() as backend:
        url = backend.url
    courier = couriers(url)
    for _ in range(5):
        courier.send(Post("/a", {}))
    courier.close(10)
    (said,) = caplog.messages
    assert "cannot be reached (ConnectError)" in said


def test_more_than_may_wait_is_left_out_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    with FakeBackend(HANG) as backend:
        courier = couriers(backend.url, most=3)
        for number in range(6):
            courier.send(Post(f"/{number}", {}))
        backend.wait_for(1)
        courier.close(0)
    said = [each for each in caplog.messages if "wait already" in each]
    assert len(said) == 1
    assert any("3 evaluations could not be sent before the end" in each for each in caplog.messages)


def test_closing_tries_once_more_and_does_not_sit_out_a_pause() -> None:
    with FakeBackend(503) as backend:
        courier = couriers(backend.url, pauses=(3600.0,))
        courier.send(Post("/a", {}))
        backend.wait_for(1)
        courier.close(30)
        assert len(backend.posts) == 2


def test_a_closed_courier_goes_on_with_the_next_post() -> None:
    with FakeBackend() as backend:
        courier = couriers(backend.url)
        for number in range(3):
            courier.send(Post(f"/{number}", {}))
            courier.close(30)
        assert [each.path for each in backend.posts] == ["/0", "/1", "/2"]


ENDING = """
import sys
import httpx
from tierflow.tracing.sinks import Courier, Post

couriers = [Courier(name, lambda: httpx.Client(base_url=sys.argv[1], timeout=900)) for name in "ab"]
for courier in couriers:
    courier.send(Post("/last", {}))
"""


def test_a_process_that_ends_sends_what_waits() -> None:
    with FakeBackend() as backend:
        subprocess.run([sys.executable, "-c", ENDING, backend.url], check=True, timeout=60)
        assert [each.path for each in backend.posts] == ["/last", "/last"]


def test_a_server_that_hangs_does_not_hold_the_end_of_a_process() -> None:
    with FakeBackend(HANG, HANG) as backend:
        # Each of their requests would wait for a quarter of an hour.
        subprocess.run([sys.executable, "-c", ENDING, backend.url], check=True, timeout=60)
        assert len(backend.posts) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on Windows")
def test_a_forked_child_leaves_its_parents_posts_to_the_parent() -> None:
    code = """
import os, sys
import httpx
from tierflow.tracing.sinks import Courier, Post

courier = Courier("a", lambda: httpx.Client(base_url=sys.argv[1], timeout=60))
courier.send(Post("/parent", {}))
child = os.fork()
if child == 0:
    mine = Courier("b", lambda: httpx.Client(base_url=sys.argv[1], timeout=60))
    mine.send(Post("/child", {}))
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
"""
    with FakeBackend() as backend:
        warnings = "ignore::DeprecationWarning"
        command = [sys.executable, "-W", warnings, "-c", code, backend.url]
        subprocess.run(command, check=True, timeout=60)
        assert sorted(each.path for each in backend.posts) == ["/child", "/parent"]
