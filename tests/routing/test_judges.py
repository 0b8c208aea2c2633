"""Judges: what each scores a reply by. The plans alone, then whole steps over real sockets."""

import functools
import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from tests.conftest import Catalogue
from tests.fakes import Fail, FakeProvider, Say
from tests.tasks.ways import Way, both_ways, plain
from tierflow import Cascade, Sampling, agreement, confidence, model_judge, schema
from tierflow.errors import AttemptError, ProviderDownError, UnparseableReplyError
from tierflow.routing import Case, Judge, NamedTier, Parsed, Question, Score, Trail

from .world import Answering, World, a_reply, a_request, a_tier, scripted


def judged(
    judge: Judge, text: str, answering: Answering, *, value: object = None, **reply: Any
) -> tuple[Score, World]:
    """Judge a reply of the tier `fast`. `value`: what was read from it, the text if None."""
    world = World(answering)
    question: Question[Any] = Question(a_request(), str, Trail())
    parsed: Parsed[Any] = Parsed(a_reply(text, **reply), text if value is None else value)
    helpers: dict[str, NamedTier] = {name: a_tier(name, name) for name in judge.tiers}
    case: Case[Any] = Case(question, a_tier("fast", "fast"), parsed, helpers)
    return world.run(judge.score(case)), world


def nobody(*_: object) -> str | AttemptError:
    raise AssertionError("This judge asks no model.")


def test_schema_accepts_whatever_fits_the_type() -> None:
    score, _ = judged(schema(), "anything", nobody)

    assert score.value == 1


@pytest.mark.parametrize(("text", "expected"), [("a refund", 1.0), ("a parcel", 0.0)])
def test_schema_scores_by_its_check_and_names_it(text: str, expected: float) -> None:
    def is_refund(value: str) -> bool:
        return "refund" in value

    judge = schema(is_refund)
    score, _ = judged(judge, text, nobody)

    assert score.value == expected
    assert judge.name == "schema:is_refund"
    assert score.reason == f"schema:is_refund {'passed' if expected else 'failed'}"


def test_agreement_asks_the_same_tier_again_at_0_7() -> None:
    score, world = judged(agreement(), "A", scripted(fast=["A"]))

    (_, ask), *rest = world.asks
    assert score.value == 1
    assert not rest
    assert (ask.role, ask.tier.name, ask.on_chunk) == ("judge", "fast", None)
    assert ask.request.sampling == Sampling(temperature=0.7, seed=1)
    assert ask.request.messages == a_request().messages


def test_agreement_asks_another_tier_at_the_steps_own_sampling() -> None:
    score, world = judged(agreement("standard"), "A", scripted(standard=["B"]))

    assert score.value == 0
    assert world.asked == ["standard"]
    assert world.asks[0][1].request.sampling == Sampling()
    assert score.reason == "0 of 1 agree (standard)"


def test_agreement_scores_by_the_share_of_samples_that_agree() -> None:
    score, world = judged(agreement(samples=4), "A", scripted(fast=["A", "B", "A", "A"]))

    assert score.value == 0.75
    assert [ask.request.sampling.seed for _, ask in world.asks] == [1, 2, 3, 4]
    assert agreement(samples=4).threshold == 1


def test_agreement_compares_only_what_by_takes_of_a_value() -> None:
    def last_word(text: str) -> str:
        return text.rsplit(maxsplit=1)[-1]

    answers = scripted(standard=["Surely it is C"])

    assert judged(agreement("standard"), "I think: C", answers)[0].value == 0
    assert judged(agreement("standard", by=last_word), "I think: C", answers)[0].value == 1


def test_agreement_without_another_answer_is_refused() -> None:
    with pytest.raises(ValueError, match="needs at least one more answer"):
        agreement(samples=0)


@dataclass
class Sure:
    confidence: object


@pytest.mark.parametrize(
    ("stated", "expected"), [(0.9, 0.9), (1, 1.0), (7.0, 0.0), (-1.0, 0.0), (0, 0.0)]
)
def test_confidence_takes_what_the_model_states_within_0_to_1(
    stated: float, expected: float
) -> None:
    score, _ = judged(confidence(), "text", nobody, value=Sure(stated), confidence=0.5)

    assert score.value == expected


@pytest.mark.parametrize("value", ["text", Sure("very"), Sure(None)])
def test_confidence_else_takes_the_token_probabilities(value: object) -> None:
    score, _ = judged(confidence(), "text", nobody, value=value, confidence=0.25)

    assert score.value == 0.25


def test_confidence_accepts_nothing_where_there_is_neither() -> None:
    score, _ = judged(confidence(), "text", nobody)

    assert score == Score(0.0, "the provider sent no token probabilities")


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_no_stated_confidence_scores_above_1_or_below_0(stated: float) -> None:
    score, _ = judged(confidence(), "text", nobody, value=Sure(stated))

    assert math.isnan(score.value) or 0 <= score.value <= 1


def test_a_model_judge_sees_rubric_question_and_answer() -> None:
    opinion = json.dumps({"score": 0.75, "reason": "The answer says 'the reply'."})
    judge = model_judge("standard", "Is it polite?")

    score, world = judged(judge, "the reply", scripted(standard=[opinion]))

    (_, ask), *_ = world.asks
    system, user = (message["content"] for message in ask.request.messages)
    assert score.value == 0.75
    assert ask.role == "judge"
    assert "Is it polite?" in system
    assert "Where is it?" in user
    assert "the reply" in user
    # The judge's own words may quote the reply.
    assert score.reason == "standard scored 0.75"


def test_a_model_judge_asks_for_the_strict_form_of_structured_output() -> None:
    judge = model_judge("standard", "Is it polite?")
    _, world = judged(judge, "text", scripted(standard=['{"score": 1, "reason": ""}']))

    wanted: Any = world.asks[0][1].request.schema
    assert wanted["additionalProperties"] is False
    assert set(wanted["required"]) == set(wanted["properties"]) == {"score", "reason"}


def test_a_model_judge_tells_that_it_is_of_the_family_it_judges() -> None:
    judge, opinion = model_judge("standard", "?"), '{"score": 1}'
    _, world = judged(judge, "text", scripted(standard=[opinion]))

    (told,) = world.told
    assert (told.kind, told.about) == ("judge-kin", "step")
    assert "'standard' and the tier 'fast'" in told.message
    assert "models of openai" in told.message


@both_ways
@pytest.mark.parametrize(("model", "warnings"), [("gpt-large", 1), ("claude-large", 0)])
def test_a_judge_of_the_family_it_judges_is_warned_of_once(  # noqa: PLR0917  # fixtures
    way: Way,
    model: str,
    warnings: int,
    catalogue: Catalogue,
    provider: FakeProvider,
    caplog: pytest.LogCaptureFixture,
) -> None:
    catalogue(fast=["gpt-small"], standard=[model])
    provider.script("gpt-small", Say("It is here."))
    provider.script(model, Say({"score": 0.9, "reason": "right"}))
    rule = Cascade(to="frontier", judge=model_judge("standard", "?"), max_loss=None)
    step = way.step(plain, cascade=rule)

    assert [step(text).tier for text in ("Where is it?", "Where?")] == ["fast", "fast"]
    assert len([each for each in caplog.messages if "favour their own" in each]) == warnings


@pytest.mark.parametrize(
    "opinion", ['Sure! {"score": 0.5, "reason": "ok"} Bye.', '```json\n{"score": 0.5}\n```']
)
def test_a_model_judge_reads_json_out_of_chatter(opinion: str) -> None:
    score, world = judged(model_judge("standard", "?"), "text", scripted(standard=[opinion]))

    assert score.value == 0.5
    assert len(world.asks) == 1


@pytest.mark.parametrize("opinion", ["good", '{"score": 1.5}', '{"score": "high"}', "{}", "}{"])
def test_a_verdict_that_cannot_be_read_is_asked_for_once_more(opinion: str) -> None:
    judge = model_judge("standard", "Is it polite?")

    score, _ = judged(judge, "text", scripted(standard=[opinion, '{"score": 0.5}']))
    assert score.value == 0.5

    with pytest.raises(UnparseableReplyError):
        judged(judge, "text", scripted(standard=[opinion]))


def test_what_a_judge_asks_goes_into_the_steps_trail() -> None:
    trail = Trail()
    parsed = Parsed(a_reply("A"), "A")
    helpers = {"standard": a_tier("standard", "down", "well")}
    question = Question(a_request(), str, trail)
    case = Case(question, a_tier("fast", "fast"), parsed, helpers)
    down = ProviderDownError("down")

    World(scripted(down=[down], well=["A"])).run(agreement("standard").score(case))

    assert [reply.text for reply in trail.replies] == ["A"]
    assert trail.failures == [down]


def test_a_check_that_was_edited_has_another_identity() -> None:
    def checks(text: str) -> Judge:
        scope: dict[str, Any] = {"__name__": "module"}
        exec(f"def check(value):\n    return {text}", scope)  # a source file that is edited
        return schema(scope["check"])

    texts = [
        "value == 'a'",
        "value == 'b'",
        "value.a",
        "value.b",
        "value > 0",
        "value in {'a', 'b'}",
        "value in {'a', 'c'}",
        "any(each == 'a' for each in value)",
        "any(each == 'b' for each in value)",
    ]
    assert len({checks(text).identity for text in texts}) == len(texts)
    assert checks(texts[0]).identity == checks(texts[0]).identity


def test_a_checks_identity_is_the_same_in_every_process() -> None:
    program = (
        "from tierflow import schema\n"
        "def check(value): return value in {'refund', 'delivery', 'account', 'other'}\n"
        "print(schema(check).identity)"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in "12"
    }

    assert len(said) == 1


def test_a_check_without_code_of_its_own_is_named_by_its_path() -> None:
    class Known:
        def __call__(self, value: object) -> bool:
            return True

    known = functools.wraps(str.isdigit)(Known())

    assert "isdigit" in schema(known).identity


class Guess(BaseModel):
    label: str
    confidence: float


@both_ways
@pytest.mark.parametrize(("stated", "tier"), [(0.95, "fast"), (0.4, "frontier")])
def test_a_step_escalates_on_low_stated_confidence(
    way: Way, stated: float, tier: str, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    for model in ("fast", "frontier"):
        provider.script(model, Say({"label": "refund", "confidence": stated}))
    rule = Cascade(to="frontier", judge=confidence(0.8), max_loss=None)

    assert way.step(plain, returns=Guess, cascade=rule)("Where is it?").tier == tier


@both_ways
@pytest.mark.parametrize(
    ("logprobs", "tier"), [([-0.1, -0.1], "fast"), ([-0.1, -3.0], "frontier"), (None, "frontier")]
)
def test_a_step_escalates_on_low_token_probabilities_or_none(
    way: Way,
    logprobs: list[float] | None,
    tier: str,
    catalogue: Catalogue,
    provider: FakeProvider,
) -> None:
    catalogue()
    provider.script("fast", Say("It is here.", logprobs=logprobs))
    provider.script("frontier", Say("It is there."))

    answer = way.step(plain, cascade=Cascade(to="frontier", judge=confidence(0.8), max_loss=None))(
        "Where is it?"
    )

    assert answer.tier == tier
    assert provider.calls[0].body["logprobs"] is True
    expected = 0.0 if logprobs is None else math.exp(sum(logprobs) / len(logprobs))
    assert answer.verdicts[0].score == pytest.approx(expected)


@both_ways
def test_a_step_agrees_with_itself_at_0_7(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    provider.script("fast", Say("B"))
    step = way.step(plain, cascade=Cascade(to="frontier", judge=agreement(), max_loss=None))

    answer = step("Where is it?")

    assert (answer.tier, answer.cache) == ("fast", "miss")
    first, second = (call.body for call in provider.calls)
    assert (first["temperature"], second["temperature"]) == (0, 0.7)
    assert second["seed"] == 1


@both_ways
def test_a_model_judges_verdict_decides_and_costs_count(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    provider.script("fast", Say("cheap", input_tokens=10, output_tokens=1))
    provider.script(
        "standard", Say({"score": 0.9, "reason": "fine"}, input_tokens=100, output_tokens=10)
    )
    judge = model_judge("standard", "Is it right?", threshold=0.9)

    answer = way.step(plain, cascade=Cascade(to="frontier", judge=judge, max_loss=None))(
        "Where is it?"
    )

    assert (answer.value, answer.tier) == ("cheap", "fast")
    assert answer.usage.input_tokens == 110
    assert answer.cost_usd == pytest.approx((110 * 1 + 11 * 10) / 1e6)
    assert [reply.model for reply in answer.replies] == ["fast", "standard"]


@both_ways
def test_a_judges_question_fails_over_too(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue(standard=["j1", "j2"])
    provider.script("fast", Say("cheap"))
    provider.script("j1", Fail(500))
    provider.script("j2", Say({"score": 1.0, "reason": "fine"}))
    rule = Cascade(to="frontier", judge=model_judge("standard", "Is it right?"), max_loss=None)

    answer = way.step(plain, cascade=rule)("Where is it?")

    assert answer.tier == "fast"
    assert len(answer.failures) == 1
