"""Metering: which calls are billed that brought no reply. No socket; the clock is an argument."""

from asyncio import CancelledError
from collections.abc import Callable, Generator
from typing import Any

import pytest

from tierflow.errors import AttemptError, AttemptTimeoutError, ProviderDownError, RejectedError
from tierflow.request import Reply
from tierflow.routing import Ask, Hedge, Raced, Rank, Standing, Trail
from tierflow.routing.failover import failover
from tierflow.routing.metering import broken_off
from tierflow.routing.received import Stream

from .world import a_request, a_tier

TIER = a_tier("fast", "a", "b", hedge=True)


def an_ask(*, sent: bool = True, heard: str = "") -> Ask:
    ask = Ask(TIER.tier.deployments[0], TIER, a_request("x" * 400), "answer", 1)
    if sent:
        ask.meter.clock, ask.meter.started, ask.meter.began_at = lambda: 12.0, 10.0, 1000.0
    if heard:
        ask.meter.stream = Stream(lambda: 11.0, 10.0, lambda _: None)
        ask.meter.stream.add(a_chunk(heard))
    return ask


class a_chunk:  # noqa: N801  # reads like a value
    """As much of a chunk of litellm's as is read."""

    def __init__(self, text: str) -> None:
        self.choices = [self]
        self.delta = self
        self.content = text
        self.finish_reason = None


def left_unanswered() -> AttemptError:
    error = AttemptTimeoutError("openai/a: no reply", deployment="openai/a")
    error.may_be_billed = True
    return error


@pytest.mark.parametrize(
    ("error", "is_billed"),
    [
        (left_unanswered(), True),
        (AttemptTimeoutError("not even reached"), False),
        (ProviderDownError("503"), False),
        (RejectedError("400"), False),
        (CancelledError(), True),
        (KeyboardInterrupt(), True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_call_that_was_left_is_billed_and_one_that_was_refused_is_not(
    error: BaseException, is_billed: bool
) -> None:
    assert (broken_off(an_ask(), error) is not None) == is_billed
    assert broken_off(an_ask(sent=False), error) is None
    # What was heard is billed, whatever came then.
    assert broken_off(an_ask(heard="one "), error) is not None


def test_what_is_billed_is_a_guess_without_text() -> None:
    paid = broken_off(an_ask(heard="0123456789"), CancelledError())

    assert paid is not None
    assert (paid.text, paid.finish_reason) == ("", "broken_off")
    assert (paid.usage.input_tokens, paid.usage.output_tokens) == (108, 3)
    assert paid.usage.estimated
    assert (paid.began_at, paid.latency_ms, paid.ttft_ms) == (1000.0, 2000.0, 1000.0)
    assert paid.cost_usd is None


def raced(end: Callable[[Generator[Any, Any, Reply], Hedge], object]) -> Trail:
    """Carry out a hedged call up to its `end`, after both were sent. Return what is left of it."""
    trail = Trail()
    plan = failover(TIER, a_request(), trail)
    assert isinstance(next(plan), Rank)
    standings = tuple(Standing(each, 0.0, p95_s=1.0) for each in TIER.tier.deployments)
    hedge = plan.send(standings)
    assert isinstance(hedge, Hedge)
    for ask in (hedge.first, hedge.second):
        ask.meter.clock, ask.meter.started = lambda: 12.0, 10.0
    with pytest.raises((RejectedError, CancelledError)):
        end(plan, hedge)
    return trail


def test_the_loser_of_a_race_without_a_winner_is_billed() -> None:
    rejected = RejectedError("400", deployment="openai/b")
    trail = raced(lambda plan, hedge: plan.send(Raced(None, (rejected,), (), (hedge.first,))))

    assert [type(each.error) for each in trail.attempts] == [CancelledError, RejectedError]
    billed: list[Reply | None] = [each.paid for each in trail.attempts]
    assert [each is not None for each in billed] == [True, False]


def test_a_race_that_nobody_waits_for_is_billed_for_both() -> None:
    trail = raced(lambda plan, _: plan.throw(CancelledError()))

    assert [each.paid is not None for each in trail.attempts] == [True, True]
    assert trail.replies == []
    assert trail.usage.input_tokens > 0
