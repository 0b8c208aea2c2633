"""Cascade: accept or escalate. The plan alone first, then whole steps over real sockets."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from tests.conftest import Catalogue
from tests.fakes import Fail, FakeProvider, Say
from tests.tasks.ways import Way, both_ways, plain
from tierflow import Cascade, agreement, model_judge, schema
from tierflow.errors import (
    AllDeploymentsFailedError,
    AttemptError,
    ProviderDownError,
    RejectedError,
    UnknownTierError,
    UnparseableReplyError,
)
from tierflow.routing import Chain, Parsed, Question, Trail, run_chain

from .world import World, a_request, a_tier, scripted


class Label(BaseModel):
    label: str


def read_number(text: str) -> int:
    """Read a reply that must be a number."""
    try:
        return int(text)
    except ValueError:
        raise UnparseableReplyError("The reply is no number.", text=text) from None


def is_even(value: int) -> bool:
    return value % 2 == 0


EVEN = Cascade(to=("standard", "frontier"), judge=schema(is_even), max_loss=None)


def run(**scripts: list[str | AttemptError]) -> tuple[Parsed[int], World, Trail]:
    """Run a chain of one tier for each script, whose only model has the tier's name."""
    world, trail = World(scripted(**scripts)), Trail()
    tiers = [a_tier(name, name) for name in scripts]
    question = Question(a_request(), read_number, trail)
    rule = EVEN if len(tiers) > 1 else None
    return world.run(run_chain(question, Chain(tiers, {}, rule))), world, trail


def test_an_accepted_cheap_reply_ends_it() -> None:
    outcome, world, trail = run(fast=["2"], standard=["4"])

    assert outcome.value == 2
    assert world.asked == ["fast"]
    assert [(each.judge, each.accepted) for each in trail.verdicts] == [("schema:is_even", True)]


def test_a_rejected_cheap_reply_escalates_to_the_stronger_tier() -> None:
    outcome, world, trail = run(fast=["1"], standard=["4"])

    assert (outcome.value, outcome.reply.tier) == (4, "standard")
    assert [verdict.accepted for verdict in trail.verdicts] == [False]
    assert [reply.text for reply in trail.replies] == ["1", "4"]
    assert world.asked == ["fast", "standard"]


def test_the_last_tier_is_not_judged() -> None:
    outcome, world, trail = run(fast=["1"], standard=["3"], frontier=["5"])

    assert outcome.value == 5
    assert len(trail.verdicts) == len(world.spans) == 2


def test_each_tier_but_the_last_is_judged_in_turn() -> None:
    outcome, world, trail = run(fast=["1"], standard=["2"], frontier=["5"])

    assert outcome.value == 2
    assert world.asked == ["fast", "standard"]
    assert [verdict.accepted for verdict in trail.verdicts] == [False, True]


def test_a_tier_that_is_down_escalates_unjudged() -> None:
    outcome, world, trail = run(fast=[ProviderDownError("down")], standard=["3"])

    assert outcome.value == 3
    assert [verdict.reason for verdict in trail.verdicts] == ["AllDeploymentsFailedError"]
    assert world.spans == []


def test_a_reply_that_cannot_be_read_is_mended_once_and_then_judged() -> None:
    outcome, world, trail = run(fast=["two", "2"], standard=["4"])

    assert outcome.value == 2
    assert [ask.role for _, ask in world.asks] == ["answer", "repair"]
    assert len(trail.replies) == 2
    mending = world.asks[1][1].request.messages
    assert [message["role"] for message in mending] == ["user", "assistant", "user"]
    assert mending[1]["content"] == "two"
    assert "The reply is no number." in mending[2]["content"]


def test_a_reply_that_cannot_be_mended_escalates_unjudged() -> None:
    outcome, world, trail = run(fast=["two", "deux"], standard=["3"])

    assert outcome.value == 3
    assert world.asked == ["fast", "fast", "standard"]
    assert [verdict.reason for verdict in trail.verdicts] == ["UnparseableReplyError"]


def test_a_request_that_is_wrong_is_not_escalated() -> None:
    with pytest.raises(RejectedError):
        run(fast=[RejectedError("wrong")], standard=["4"])


def test_what_the_last_tier_raises_comes_out() -> None:
    with pytest.raises(UnparseableReplyError):
        run(fast=["one"], standard=["three"])
    with pytest.raises(AllDeploymentsFailedError):
        run(fast=["1"], standard=[ProviderDownError("down")])


def test_without_a_rule_the_only_tier_answers() -> None:
    outcome, _, trail = run(fast=["1"])

    assert outcome.value == 1
    assert trail.verdicts == []


said = st.sampled_from(["0", "1", "2", "3", "many"]) | st.just(ProviderDownError("down"))


@given(st.lists(said, min_size=1, max_size=4))
def test_only_an_accepted_reply_or_the_last_tiers_own_is_ever_returned(
    replies: list[str | AttemptError],
) -> None:
    scripts = {f"t{number}": [reply] for number, reply in enumerate(replies)}
    good = [text for text in replies[:-1] if text in {"0", "2"}]
    expected = (good or replies[-1:])[0]

    if expected in {"0", "1", "2", "3"}:
        outcome, world, trail = run(**scripts)
        assert outcome.reply.text == expected
        assert len(world.spans) == sum(v.judge == "schema:is_even" for v in trail.verdicts)
        assert all(not verdict.accepted for verdict in trail.verdicts[:-1])
    else:
        with pytest.raises((AllDeploymentsFailedError, UnparseableReplyError)):
            run(**scripts)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_outside_0_to_1_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        Cascade(to="frontier", judge=schema(), threshold=threshold, max_loss=None)


@pytest.mark.parametrize("audit_by", ["", "nobody", None])
def test_an_audit_is_by_the_tier_or_by_people(audit_by: Any) -> None:
    with pytest.raises(ValueError, match='Give "tier" or "people"'):
        Cascade(to="frontier", judge=schema(), audit_by=audit_by)


def test_who_audits_decides_no_answer() -> None:
    people = Cascade(to="frontier", judge=schema(), audit_by="people")
    assert people.identity == Cascade(to="frontier", judge=schema()).identity


def test_a_cascade_that_decides_otherwise_has_another_identity() -> None:
    def chain(judge: Any, threshold: float | None = None) -> tuple[str, ...]:
        rule = Cascade(to="frontier", judge=judge, threshold=threshold, max_loss=None)
        return Chain([a_tier("fast", "a"), a_tier("frontier", "b")], {}, rule).identity

    rules = [
        chain(schema()),
        chain(schema(is_even)),
        chain(schema(is_even), 0.9),
        chain(agreement()),
        chain(agreement("standard")),
        chain(agreement(samples=3)),
        chain(model_judge("standard", "Be right.")),
        chain(model_judge("standard", "Be kind.")),
    ]
    assert len(set(rules)) == len(rules)
    assert chain(schema(is_even)) == chain(schema(is_even))


def is_known(value: Label) -> bool:
    return value.label in {"refund", "delivery"}


@both_ways
def test_a_step_escalates_and_says_so(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    provider.script("fast", Say({"label": "?"}, input_tokens=100, output_tokens=10))
    provider.script("frontier", Say({"label": "refund"}, input_tokens=200, output_tokens=20))
    rule = Cascade(to="frontier", judge=schema(is_known), max_loss=None)

    answer = way.step(plain, returns=Label, cascade=rule)("Where is it?")

    assert answer.value == Label(label="refund")
    assert (answer.tier, answer.escalations) == ("frontier", 1)
    assert answer.usage.input_tokens == 300
    assert answer.cost_usd == pytest.approx((300 * 1 + 30 * 10) / 1e6)
    assert [call.model for call in provider.calls] == ["fast", "frontier"]


@both_ways
def test_a_step_mends_a_reply_that_does_not_fit_its_type(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    provider.script("fast", [Say("It is a refund."), Say({"label": "refund"})])
    rule = Cascade(to="frontier", judge=schema(is_known), max_loss=None)

    answer = way.step(plain, returns=Label, cascade=rule)("Where is it?")

    assert (answer.value, answer.tier, answer.escalations) == (Label(label="refund"), "fast", 0)
    assert provider.calls[1].body["messages"][-2]["content"] == "It is a refund."


@both_ways
@pytest.mark.parametrize(
    "judging", [Fail(500), Fail(400), Say("Looks good to me.")], ids=["down", "refused", "chatty"]
)
def test_a_judge_that_fails_does_not_accept(
    way: Way, judging: Fail | Say, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    provider.script("fast", Say("cheap"))
    provider.script("standard", judging)
    provider.script("frontier", Say("strong"))
    rule = Cascade(to="frontier", judge=model_judge("standard", "Is it right?"), max_loss=None)

    answer = way.step(plain, cascade=rule)("Where is it?")

    assert answer.value == "strong"
    assert answer.verdicts[0].accepted is False
    assert answer.verdicts[0].reason.startswith("no verdict: ")


@both_ways
@pytest.mark.parametrize("where", ["to", "judge"])
def test_an_unknown_tier_in_a_cascade_fails_before_any_call(
    way: Way, where: str, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    provider.script("fast", Say("never"))
    rules = {
        "to": Cascade(to="fronteer", judge=schema(), max_loss=None),
        "judge": Cascade(to="frontier", judge=agreement("fronteer"), max_loss=None),
    }

    with pytest.raises(UnknownTierError, match="No tier 'fronteer'"):
        way.step(plain, cascade=rules[where])("Where is it?")

    assert provider.calls == ()
