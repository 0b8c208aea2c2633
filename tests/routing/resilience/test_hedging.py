"""Hedging: late calls are asked twice, few of them, and both are paid. Then over real sockets."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import Catalogue
from tests.fakes import Fail, FakeProvider, Say
from tests.routing.world import a_reply, a_request, a_tier
from tests.tasks.test_outages import amend
from tests.tasks.ways import Way, both_ways, plain
from tierflow import Chunk
from tierflow.errors import AllDeploymentsFailedError, ProviderDownError, RejectedError
from tierflow.request import Reply
from tierflow.routing import Ask, Hedge, Raced, Rank, Standing, Trail
from tierflow.routing.failover import failover
from tierflow.routing.resilience import HedgeShares, race
from tierflow.routing.resilience.hedging import CANCELLED

TIER = a_tier("fast", "a", "b", hedge=True)
FIRST, SECOND = (
    Ask(each, TIER, a_request(), "answer", place)
    for place, each in enumerate(TIER.tier.deployments, start=1)
)
A, B = a_reply("from a", deployment=FIRST.deployment.name), a_reply("from b")
DOWN = ProviderDownError("it is down", deployment=FIRST.deployment.name)
Does = Callable[[asyncio.Event], Reply | Exception | None]


async def run(
    first: Reply | Exception | None,
    second: Reply | Exception | None,
    *,
    first_waits: bool = True,
    may_hedge: bool = True,
) -> tuple[Raced, list[str]]:
    """Race the two. The first waits for the second to be asked; None waits for ever."""
    asked, second_asked = list[str](), asyncio.Event()

    async def ask(which: Ask) -> Reply:
        asked.append(which.deployment.model[-1])
        if which is SECOND:
            second_asked.set()
        elif first_waits and may_hedge:
            await second_asked.wait()
        end = second if which is SECOND else first
        if end is None:
            await asyncio.Event().wait()
        if isinstance(end, Exception):
            raise end
        assert end is not None
        return end

    raced = await race(Hedge(FIRST, SECOND, 0.01 if first_waits else 60), ask, lambda: may_hedge)
    return raced, asked


async def test_a_reply_in_time_is_all_there_is() -> None:
    raced, asked = await run(A, B, first_waits=False)
    assert (raced, asked) == (Raced(A), ["a"])


async def test_a_late_one_is_cancelled_when_the_other_replies() -> None:
    raced, asked = await run(None, B)
    assert (raced, asked) == (Raced(B, cancelled=(FIRST,)), ["a", "b"])


async def test_a_late_one_may_still_be_first() -> None:
    raced, _ = await run(A, None)
    assert raced == Raced(A, cancelled=(SECOND,))


async def test_whoever_replies_to_no_avail_is_paid() -> None:
    raced, _ = await run(A, B)
    assert {raced.reply, *raced.paid} == {A, B}
    assert raced.cancelled == ()


async def test_a_failure_in_time_leaves_the_other_to_failover() -> None:
    raced, asked = await run(DOWN, B, first_waits=False)
    assert (raced, asked) == (Raced(None, (DOWN,)), ["a"])


async def test_after_a_late_failure_the_other_is_waited_for() -> None:
    raced, _ = await run(DOWN, B)
    assert (raced.reply, raced.failures) == (B, (DOWN,))


async def test_a_request_that_is_wrong_ends_both() -> None:
    wrong = RejectedError("no such field")
    raced, _ = await run(wrong, None)
    assert raced == Raced(None, (wrong,), cancelled=(SECOND,))


async def test_without_leave_to_hedge_the_first_is_waited_for() -> None:
    raced, asked = await run(A, B, may_hedge=False)
    assert (raced, asked) == (Raced(A), ["a"])


async def test_cancelling_a_race_cancels_both() -> None:
    ended, both = list[str](), asyncio.Event()

    async def ask(which: Ask) -> Reply:
        if which is SECOND:
            both.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(which.deployment.model[-1])
        return A

    racing = asyncio.ensure_future(race(Hedge(FIRST, SECOND, 0.0), ask, lambda: True))
    await both.wait()
    racing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await racing
    assert sorted(ended) == ["a", "b"]


@given(st.lists(st.booleans(), max_size=300), st.floats(0.01, 0.2))
def test_hedges_are_few_whatever_happens(lates: list[bool], share: float) -> None:
    shares, hedges = HedgeShares(), 0
    for calls, is_late in enumerate(lates, start=1):
        shares.called("fast", share)
        hedges += is_late and shares.take("fast")
        assert hedges <= 1 + share * calls + 1e-9


def standings(*, p95_s: float | None = 0.1, second_is_well: bool = True) -> tuple[Standing, ...]:
    first, second = TIER.tier.deployments
    return Standing(first, 0.0, p95_s=p95_s), Standing(second, 0.0, is_well=second_is_well)


def test_a_plan_hedges_only_where_it_knows_what_is_late_and_another_is_well() -> None:
    def asks(ranked: tuple[Standing, ...], **options: Callable[[Chunk], None]) -> object:
        plan = failover(TIER, a_request(), Trail(), **options)  # type: ignore[arg-type]  # on_chunk
        assert isinstance(next(plan), Rank)
        return plan.send(ranked)

    assert isinstance(asks(standings()), Hedge)
    assert isinstance(asks(standings(p95_s=None)), Ask)
    assert isinstance(asks(standings(second_is_well=False)), Ask)
    assert isinstance(asks(standings()[:1]), Ask)
    assert isinstance(asks(standings(), on_chunk=lambda _: None), Ask)


def test_a_plan_pays_for_both_and_goes_on_when_both_failed() -> None:
    trail = Trail()
    plan = failover(TIER, a_request(), trail)
    next(plan)
    hedge = plan.send(standings())
    with pytest.raises(StopIteration) as ended:
        plan.send(Raced(B, (), (), (hedge.first,)))
    assert ended.value.value is B
    lost, won = trail.replies
    assert (lost.finish_reason, lost.usage.estimated, won) == (CANCELLED, True, B)

    plan = failover(TIER, a_request(), trail := Trail())
    next(plan)
    plan.send(standings())
    other = ProviderDownError("so is that")
    with pytest.raises(AllDeploymentsFailedError):
        plan.send(Raced(None, (DOWN, other)))
    assert trail.failures == [DOWN, other]


@both_ways
def test_a_late_reply_is_overtaken_and_both_are_paid(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    amend(catalogue(fast=["a", "b"]), tiers="hedge = true")
    in_time = Say("from a", input_tokens=100, output_tokens=10)
    provider.script("a", [*[in_time] * 20, Say("late", delay_s=3600)])
    provider.script("b", Say("from b", input_tokens=100, output_tokens=10))
    step = way.step(plain, cache=None)

    answers = [step(str(number)) for number in range(21)]

    assert [answer.value for answer in answers] == ["from a"] * 20 + ["from b"]
    late, won = answers[-1].replies
    assert (late.deployment, late.finish_reason) == (f"openai/a@{provider.base_url}", CANCELLED)
    assert won.text == "from b"
    # A dollar a million tokens in, ten out: twice.
    assert answers[-1].cost_usd == pytest.approx(2 * (100 + 100) / 1e6)
    assert answers[-1].usage.estimated
    # It was hung up on.
    provider.wait_until_idle()


@both_ways
def test_an_outage_is_not_doubled_by_hedges(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    amend(
        catalogue(fast=["a", "b"]),
        tiers="hedge = true",
        # Nothing opens: the hedges are alone with the slowness.
        tail="[breaker]\nmin_calls = 1000",
    )
    provider.script("a", [*[Say("from a")] * 20, Say("slowly from a", delay_s=0.3)])
    provider.script("b", Say("from b"))
    step = way.step(plain, cache=None)

    values = [step(str(number)).value for number in range(40)]

    # One to begin with, and a twentieth of the calls that may be hedged.
    assert 1 <= len(provider.calls_to("b")) <= 2
    assert set(values[20:]) == {"from b", "slowly from a"}


@both_ways
def test_failover_works_as_ever_where_calls_are_hedged(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    amend(catalogue(fast=["a", "b"]), tiers="hedge = true")
    # The failure is not late.
    provider.script("a", [*[Say("from a", delay_s=0.2)] * 20, Fail(500)])
    provider.script("b", Say("from b"))
    step = way.step(plain, cache=None)

    answers = [step(str(number)) for number in range(22)]

    assert [answer.value for answer in answers] == ["from a"] * 20 + ["from b"] * 2
    assert sum(len(answer.failures) for answer in answers) == 1
