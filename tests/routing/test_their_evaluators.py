"""Evaluators of pydantic-evals and scorers of autoevals: the real ones, put to answers."""

import builtins
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import autoevals
import pytest
from autoevals import ClosedQA, ExactMatch, Factuality, Levenshtein, ValidJSON
from autoevals.llm import LLMClassifier
from pydantic import BaseModel
from pydantic_evals.evaluators import (
    Contains,
    EqualsExpected,
    EvaluationReason,
    Evaluator,
    EvaluatorContext,
    GEval,
    HasMatchingSpan,
    IsInstance,
    LLMJudge,
    MaxDuration,
)

from tierflow.errors import ConfigError, UnparseableReplyError
from tierflow.routing.evaluators import Found, autoevals_scorer, pydantic_evaluator

from .test_evaluators import evaluated, nobody
from .world import scripted


class Ticket(BaseModel):
    intent: Literal["refund", "other"]


# --- pydantic-evals


@pytest.mark.parametrize(
    ("theirs", "text", "label"),
    [
        (Contains("depot"), "in the depot", "pass"),
        (Contains("depot"), "at home", "fail"),
        (MaxDuration(seconds=0.5), "anything", "pass"),
        (MaxDuration(seconds=0.1), "anything", "fail"),
        (IsInstance("str"), "anything", "pass"),
    ],
)
def test_an_evaluator_that_needs_no_model_says_pass_or_fail(
    theirs: Any, text: str, label: str
) -> None:
    found, world = evaluated(pydantic_evaluator(theirs), nobody, text=text, value=text)
    assert [(each.name, each.label) for each in found] == [(type(theirs).__name__, label)]
    assert world.asks == []


def test_it_sees_the_value_and_what_was_asked() -> None:
    seen: list[EvaluatorContext[Any, Any, Any]] = []

    @dataclass
    class Looks(Evaluator[Any, Any, Any]):
        async def evaluate(self, ctx: EvaluatorContext[Any, Any, Any]) -> EvaluationReason:
            seen.append(ctx)
            return EvaluationReason(0.5, "so so")

    value = Ticket(intent="refund")
    found, _ = evaluated(pydantic_evaluator(Looks(), name="looks"), nobody, value=value)
    assert found == [Found("looks", 0.5, None, "so so")]
    assert (seen[0].output, seen[0].inputs, seen[0].duration) == (value, "Where is it?", 0.25)


def test_several_findings_have_names_of_their_own() -> None:
    @dataclass
    class Both(Evaluator[Any, Any, Any]):
        def evaluate(self, ctx: EvaluatorContext[Any, Any, Any]) -> Mapping[str, Any]:
            return {"polite": True, "language": "german", "length": EvaluationReason(0.1)}

    found, _ = evaluated(pydantic_evaluator(Both()), nobody)
    assert found == [
        Found("polite", 1.0, "pass"),
        Found("language", label="german"),
        Found("length", 0.1),
    ]
    assert evaluated(pydantic_evaluator(EqualsExpected()), nobody)[0] == []


def test_a_judge_of_theirs_asks_a_tier_of_ours() -> None:
    theirs = LLMJudge("It names a place.", include_input=True, score={"evaluation_name": "place"})
    evaluator = pydantic_evaluator(theirs, tier="standard")
    reply = json.dumps({"reason": "the depot", "pass": True, "score": 0.75})
    found, world = evaluated(evaluator, scripted(standard=[reply]))

    assert [(each.name, each.score, each.label) for each in found] == [
        ("place", 0.75, None),
        ("LLMJudge_pass", 1.0, "pass"),
    ]
    assert found[1].explanation == "the depot"
    ((_, ask),) = world.asks
    assert (ask.role, ask.tier.name, ask.request.tenant) == ("judge", "standard", "acme")
    told = "\n".join(each["content"] for each in ask.request.messages)
    assert "It names a place." in told
    assert "in the depot" in told
    schema: Any = ask.request.schema
    assert schema["required"] == ["reason", "pass", "score"]
    assert theirs.model is None


def test_a_reply_that_their_judge_cannot_read_is_repaired_first_by_us_then_by_them() -> None:
    good = json.dumps({"reason": "r", "pass": False, "score": 0})
    evaluator = pydantic_evaluator(LLMJudge("?"), tier="standard")
    found, world = evaluated(evaluator, scripted(standard=["no JSON", '{"reason": "r"}', good]))
    assert [each.label for each in found] == ["fail"]
    assert world.asked == ["standard"] * 3
    with pytest.raises(UnparseableReplyError):
        evaluated(evaluator, scripted(standard=["no JSON"]))


def test_scores_on_another_scale_become_0_to_1() -> None:
    theirs = GEval("Is it good?", ["Read it."], score_range=(1, 5))
    evaluator = pydantic_evaluator(theirs, tier="standard")
    reply = json.dumps({"reason": "r", "score": 4})
    found, _ = evaluated(evaluator, scripted(standard=[reply]))
    assert [(each.name, each.score) for each in found] == [("GEval", 0.75)]


def test_a_judge_whose_model_nobody_named_is_refused() -> None:
    with pytest.raises(ValueError, match=r'LLMJudge asks a model.*tier="standard"'):
        pydantic_evaluator(LLMJudge("?"))
    assert pydantic_evaluator(LLMJudge("?", model="openai:gpt-5")).tiers == ()
    with pytest.raises(ValueError, match="this has none"):
        pydantic_evaluator(Contains("x"), tier="standard")


def test_an_evaluator_of_spans_says_that_there_are_none() -> None:
    from pydantic_evals.otel import SpanTreeRecordingError

    with pytest.raises(SpanTreeRecordingError, match="hands no spans"):
        evaluated(pydantic_evaluator(HasMatchingSpan({"name_equals": "x"})), nobody)


# --- autoevals


@pytest.mark.parametrize(
    ("scorer", "arguments", "text", "score"),
    [
        (ValidJSON(), {}, '{"a": 1}', 1),
        (ValidJSON(), {}, "no JSON", 0),
        (ValidJSON(), {"expected": {"type": "object", "required": ["b"]}}, '{"a": 1}', 0),
        (Levenshtein(), {"expected": "in the depot"}, "in the depot", 1),
        (ExactMatch(), {"expected": "x"}, "y", 0),
    ],
)
def test_a_scorer_that_needs_no_model_scores_the_reply(
    scorer: Any, arguments: Mapping[str, Any], text: str, score: float
) -> None:
    evaluator = autoevals_scorer(scorer, arguments=arguments)
    found, world = evaluated(evaluator, nobody, text=text)
    assert [(each.name, each.score) for each in found] == [(type(scorer).__name__, score)]
    assert (world.asks, evaluator.source) == ([], "code")


def test_a_scorer_that_skips_has_nothing_to_say() -> None:
    class Skips(autoevals.Scorer):  # type: ignore[misc]  # it has no types
        def _run_eval_sync(self, output: Any, expected: Any = None, **_: Any) -> Any:
            return autoevals.Score(name="skips", score=None)

    assert evaluated(autoevals_scorer(Skips()), nobody)[0] == []


@pytest.mark.parametrize("model", [None, "gpt-5-mini", "any-other"])
def test_a_scorer_of_theirs_asks_a_tier_of_ours(model: str | None) -> None:
    # They ask some models through another API of OpenAI's.
    evaluator = autoevals_scorer(
        ClosedQA(model=model), tier="standard", arguments={"criteria": "It names a place."}
    )
    reply = json.dumps({"reasons": "the depot", "choice": "Y"})
    found, world = evaluated(evaluator, scripted(standard=[reply]))

    assert found == [Found("ClosedQA", 1, None, "the depot")]
    ((_, ask),) = world.asks
    assert (ask.role, ask.tier.name, ask.request.tenant) == ("judge", "standard", "acme")
    told = "\n".join(each["content"] for each in ask.request.messages)
    assert "It names a place." in told
    assert "Where is it?" in told
    assert "in the depot" in told
    schema: Any = ask.request.schema
    assert schema["properties"]["choice"]["enum"] == ["Y", "N"]
    assert schema["additionalProperties"] is False


def test_a_scorer_of_ones_own_is_called_by_its_name() -> None:
    scorer = LLMClassifier("polite", "Is {{output}} polite?", {"yes": 1, "no": 0}, use_cot=False)
    evaluator = autoevals_scorer(scorer, tier="standard")
    found, _ = evaluated(evaluator, scripted(standard=['{"choice": "no"}']))
    assert found == [Found("polite", 0)]
    assert autoevals_scorer(scorer, tier="standard", name="kind").name == "kind"


def test_without_a_tier_nothing_is_sent_to_their_makers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a key")
    evaluator = autoevals_scorer(Factuality(), arguments={"expected": "at home"})
    with pytest.raises(ConfigError, match="'Factuality' asks for what no tier is named for"):
        evaluated(evaluator, nobody)


# --- both


def test_what_is_neither_is_refused() -> None:
    for theirs in (Contains, "Contains", None):
        with pytest.raises(TypeError, match="no evaluator of pydantic-evals"):
            pydantic_evaluator(theirs)
    for scorer in (Factuality, len, None):
        with pytest.raises(TypeError, match="no scorer of autoevals"):
            autoevals_scorer(scorer)


def test_their_identity_says_what_they_are() -> None:
    assert pydantic_evaluator(LLMJudge("?"), tier="standard").identity == (
        "pydantic-evals LLMJudge standard"
    )
    assert autoevals_scorer(Factuality(), tier="standard").identity == (
        "autoevals Factuality standard"
    )


@pytest.mark.parametrize(
    ("make", "library"),
    [(pydantic_evaluator, "pydantic_evals.evaluators"), (autoevals_scorer, "autoevals")],
)
def test_a_missing_library_is_named_with_its_extra(
    make: Any, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any) -> Any:
        if name == library:
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", missing)
    monkeypatch.delitem(sys.modules, library)
    with pytest.raises(ImportError, match=r"tierflow\[evals\]"):
        make(object())
