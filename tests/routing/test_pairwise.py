"""Pairwise: who of two answers is better, whichever comes first. Plans, then real sockets."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Catalogue
from tests.fakes import Fail, FakeProvider, Say
from tests.tasks.ways import Way, both_ways, plain
from tierflow import Cascade, pairwise_judge
from tierflow.errors import AttemptError, UnparseableReplyError
from tierflow.routing import Ask, Case, Judge, NamedTier, Parsed, Question, Score, Trail

from .world import World, a_reply, a_request, a_tier

MINE, OTHER = "It is in the red box.", "It is in the blue box."
Prefers = Callable[[str], str]
"""What a judge says to a text of two answers."""


def judged(
    prefers: Prefers,
    *,
    other: str | AttemptError = OTHER,
    judge: Judge | None = None,
    tier: str = "fast",
    **options: Any,
) -> tuple[Score, World]:
    """Judge MINE, of the tier `fast`, against what the tier `standard` says."""

    def answering(ask: Ask) -> str | AttemptError:
        if ask.tier.name == "standard":
            return other
        return prefers(str(ask.request.messages[-1]["content"]))

    world = World(answering)
    judge = judge or pairwise_judge("judge", "Is it right?", against="standard", **options)
    helpers: dict[str, NamedTier] = {name: a_tier(name, name) for name in judge.tiers}
    question: Question[Any] = Question(a_request(), str, Trail(), on_chunk=print)
    case: Case[Any] = Case(question, a_tier(tier, tier), Parsed(a_reply(MINE), MINE), helpers)
    return world.run(judge.score(case)), world


def says(verdict: str) -> str:
    return json.dumps({"verdict": verdict, "reason": f"because {MINE}"})


def prefers(text: str) -> Prefers:
    """A judge that names one answer wherever it stands."""
    return lambda both: says(
        "1" if both.index(text) == min(map(both.index, (MINE, OTHER))) else "2"
    )


def always(*verdicts: str) -> Prefers:
    """A judge that says this whatever stands where."""
    left = list(verdicts)
    return lambda _: says(left.pop(0) if len(left) > 1 else left[0])


@pytest.mark.parametrize(
    ("judge", "expected"),
    [
        (prefers(MINE), 1.0),
        (prefers(OTHER), 0.0),
        (always("same"), 0.5),
        (always("1", "same"), 0.75),
        (always("same", "2"), 0.75),
        (always("same", "1"), 0.25),
        (always("2", "same"), 0.25),
    ],
)
def test_the_score_is_how_the_reply_fares_in_both_orders(judge: Prefers, expected: float) -> None:
    assert judged(judge)[0].value == expected


@pytest.mark.parametrize("place", ["1", "2"])
def test_a_judge_that_is_moved_by_the_order_has_said_nothing(place: str) -> None:
    score, _ = judged(always(place))

    assert score.value == 0
    assert "changes its verdict with the order" in score.reason


def test_at_least_as_good_in_both_orders_is_accepted_by_default() -> None:
    least = pairwise_judge("judge", "?", against="standard").threshold
    fared = {(a, b): judged(always(a, b))[0].value for a in "12" for b in "12"}
    fared |= {(a, b): judged(always(a, b))[0].value for a, b in (("same", "2"), ("same", "1"))}

    assert {orders for orders, value in fared.items() if value >= least} == {
        ("1", "2"),
        ("same", "2"),
    }


def test_both_orders_are_asked_and_the_first_is_the_reply_itself() -> None:
    _, world = judged(prefers(MINE))

    rival, first, second = (ask for _, ask in world.asks)
    assert world.asked == ["standard", "judge", "judge"]
    assert (rival.role, first.role, second.role) == ("judge", "judge", "judge")
    assert rival.request == a_request()
    assert rival.on_chunk is None
    for ask, answers in ((first, (MINE, OTHER)), (second, (OTHER, MINE))):
        text = str(ask.request.messages[-1]["content"])
        for number, answer in enumerate(answers, 1):
            assert f"<answer_{number}>\n{answer}\n</answer_{number}>" in text


def test_the_judge_sees_rubric_and_question_but_never_whose_answer_is_whose() -> None:
    _, world = judged(prefers(MINE))

    for _, ask in world.asks[1:]:
        system, user = (str(message["content"]) for message in ask.request.messages)
        assert "Is it right?" in system
        assert "Where is it?" in user
        assert not {"fast", "standard"} & set((system + user).split())
        assert ask.request.item is None


def test_the_verdict_is_asked_for_in_the_strict_form() -> None:
    _, world = judged(prefers(MINE))

    wanted: Any = world.asks[1][1].request.schema
    assert wanted["additionalProperties"] is False
    assert set(wanted["required"]) == set(wanted["properties"]) == {"verdict", "reason"}
    assert wanted["properties"]["verdict"]["enum"] == ["1", "2", "same"]


def test_equal_answers_need_no_judge() -> None:
    score, world = judged(always("2"), other=MINE)

    assert score == Score(1.0, "standard gave the same answer")
    assert world.asked == ["standard"]
    assert not world.told


def test_a_reason_quotes_neither_reply_nor_judge() -> None:
    assert judged(prefers(MINE))[0].reason == "against standard, first and second: won, won"
    assert judged(always("2", "same"))[0].reason == "against standard, first and second: lost, even"


def test_a_tier_compared_with_itself_says_nothing() -> None:
    score, world = judged(prefers(MINE), tier="standard")

    assert score.value == 0
    assert not world.asks


def test_an_answer_that_was_cut_off_is_no_rival() -> None:
    class Cut(World):
        def _answer(self, ask: Ask) -> Any:
            self.asks.append((self.now, ask))
            return a_reply(OTHER, finish_reason="length")

    world = Cut(lambda _: OTHER)
    judge = pairwise_judge("judge", "?", against="standard")
    helpers = {name: a_tier(name, name) for name in judge.tiers}
    question: Question[Any] = Question(a_request(), str, Trail())
    case: Case[Any] = Case(question, a_tier("fast", "a"), Parsed(a_reply(MINE), MINE), helpers)

    assert world.run(judge.score(case)).value == 0
    assert world.asked == ["standard"]


@pytest.mark.parametrize("verdict", ["3", 1, None, "first"])
def test_a_verdict_that_is_none_of_three_cannot_be_read(verdict: object) -> None:
    with pytest.raises(UnparseableReplyError, match="The judge's reply is not"):
        judged(lambda _: json.dumps({"verdict": verdict, "reason": ""}))


def test_kin_of_either_answer_is_told_of() -> None:
    _, world = judged(prefers(MINE))

    assert [told.kind for told in world.told] == ["judge-kin"] * 2
    assert "'judge' and the tier 'fast'" in world.told[0].message
    assert "'judge' and the tier 'standard'" in world.told[1].message


def test_tiers_and_rubric_are_in_the_identity() -> None:
    judges = [
        pairwise_judge("a", "?", against="b"),
        pairwise_judge("b", "?", against="a"),
        pairwise_judge("a", "!", against="b"),
        pairwise_judge("a", "?", against="c"),
    ]
    assert len({judge.identity for judge in judges}) == len(judges)
    assert judges[0].identity == pairwise_judge("a", "?", against="b").identity
    assert judges[0].tiers == ("a", "b")


def compared(body: dict[str, Any]) -> Say:
    """A provider's model that prefers the cheap answer, wherever it stands."""
    text = str(body["messages"][-1]["content"])
    return Say({"verdict": "1" if "<answer_1>\ncheap" in text else "2", "reason": "it fits"})


@both_ways
@pytest.mark.parametrize(
    ("said", "tier"), [(compared, "fast"), (Say({"verdict": "1", "reason": ""}), "frontier")]
)
def test_a_step_escalates_unless_the_verdict_survives_the_swap(
    way: Way, said: Any, tier: str, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue(judge=["judge"])
    provider.script("fast", Say("cheap"))
    provider.script("standard", Say("dear"))
    provider.script("judge", said)
    provider.script("frontier", Say("dearest"))
    judge = pairwise_judge("specialist.judge", "Is it right?", against="standard")

    answer = way.step(plain, cascade=Cascade(to="frontier", judge=judge, max_loss=None))("Where?")

    assert answer.tier == tier
    assert len(provider.calls_to("judge")) == 2
    assert len(provider.calls_to("standard")) == 1
    assert answer.verdicts[0].judge == "pairwise"


@both_ways
def test_equal_answers_of_a_step_cost_no_verdict(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    for model in ("fast", "standard"):
        provider.script(model, Say("equal"))
    judge = pairwise_judge("frontier", "Is it right?", against="standard")

    answer = way.step(plain, cascade=Cascade(to="frontier", judge=judge, max_loss=None))("Where?")

    assert answer.tier == "fast"
    assert not provider.calls_to("frontier")


@both_ways
def test_a_rival_that_is_down_leaves_no_verdict(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    provider.script("fast", Say("cheap"))
    provider.script("standard", Fail(500))
    provider.script("frontier", Say("dear"))
    judge = pairwise_judge("frontier", "Is it right?", against="standard")

    answer = way.step(plain, cascade=Cascade(to="frontier", judge=judge, max_loss=None))("Where?")

    assert answer.tier == "frontier"
    assert answer.verdicts[0].reason == "no verdict: AllDeploymentsFailedError"
