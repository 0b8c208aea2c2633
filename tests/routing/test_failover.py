"""Failover: the plan alone with a clock of its own, then whole steps over real sockets."""

import math
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import Catalogue
from tests.fakes import BreakStream, Drop, Fail, FakeProvider, Hang, Raw, Say, Step
from tests.tasks.ways import Way, both_ways, plain
from tierflow import Chunk
from tierflow.errors import (
    AllDeploymentsFailedError,
    AttemptError,
    AttemptTimeoutError,
    ContextLengthError,
    DeniedError,
    ProviderDownError,
    RateLimitedError,
    RejectedError,
)
from tierflow.request import Reply
from tierflow.routing import Attempt, NamedTier, Rank, Trail
from tierflow.routing.effects import Standing
from tierflow.routing.failover import failover

from .world import World, a_request, a_tier, scripted

DOWN = ProviderDownError("it is down")
FULL_BY_CODE = Fail(400, "Please send less.", code="context_length_exceeded")
FULL_BY_MESSAGE = Fail(400, "This model's maximum context length is 8192 tokens.")


def limited(retry_after_s: float) -> RateLimitedError:
    return RateLimitedError(f"come back in {retry_after_s} s", retry_after_s=retry_after_s)


def closed(retry_after_s: float) -> ProviderDownError:
    return ProviderDownError("down for now", retry_after_s=retry_after_s)


def test_the_first_deployment_that_replies_ends_it() -> None:
    world = World(scripted(a=["from a"], b=["from b"]))

    reply = world.run(failover(a_tier("fast", "a", "b"), a_request(), Trail()))

    assert reply.text == "from a"
    assert world.asked == ["a"]


def test_a_failed_deployment_gives_way_to_the_next() -> None:
    world, trail = World(scripted(a=[DOWN], b=[DOWN], c=["from c"])), Trail()

    reply = world.run(failover(a_tier("fast", "a", "b", "c"), a_request(), trail))

    assert reply.text == "from c"
    assert world.asked == ["a", "b", "c"]
    assert trail.failures == [DOWN, DOWN]
    assert trail.replies == [reply]


def test_the_other_deployment_is_asked_before_anyone_waits() -> None:
    world = World(scripted(a=[limited(3)], b=["from b"]))

    assert world.run(failover(a_tier("fast", "a", "b"), a_request(), Trail())).text == "from b"

    assert world.pauses == []


def test_when_all_others_failed_the_named_time_is_waited_for() -> None:
    world = World(scripted(a=[limited(3), "from a"], b=[DOWN]))

    assert world.run(failover(a_tier("fast", "a", "b"), a_request(), Trail())).text == "from a"

    assert world.asked == ["a", "b", "a"]
    assert [at for at, _ in world.asks] == [0, 0, 3]


def test_who_failed_a_moment_ago_comes_after_who_was_not_asked_yet() -> None:
    tier = a_tier("fast", "a", "b")
    # Another step's reply may have made a well again in the eyes of the breakers.
    both_ready = tuple(Standing(each, 0) for each in tier.tier.deployments)
    plan = failover(tier, a_request(), Trail())

    assert isinstance(next(plan), Rank)
    assert plan.send(both_ready).deployment == tier.tier.deployments[0]
    assert isinstance(plan.throw(limited(0)), Rank)
    assert plan.send(both_ready).deployment == tier.tier.deployments[1]


def test_a_second_retry_after_is_not_believed() -> None:
    world = World(scripted(a=[limited(1)]))

    with pytest.raises(AllDeploymentsFailedError) as caught:
        world.run(failover(a_tier("fast", "a"), a_request(), Trail()))

    assert world.asked == ["a", "a"]
    assert len(caught.value.attempts) == 2


def test_a_wait_beyond_max_wait_s_ends_at_once_and_names_attempts_wait_and_remedy() -> None:
    world = World(scripted(a=[limited(40)], b=[DOWN]))

    with pytest.raises(AllDeploymentsFailedError) as caught:
        world.run(failover(a_tier("fast", "a", "b", max_wait_s=30), a_request(), Trail()))

    message = str(caught.value)
    assert world.pauses == []
    assert "come back in 40 s" in message
    assert "it is down" in message
    assert "in 40 s" in message
    assert "`tierflow tiers`" in message
    assert "[tiers.fast]" in message


def test_several_waits_share_one_patience() -> None:
    world = World(scripted(a=[limited(4), limited(4)], b=[limited(7)]))

    with pytest.raises(AllDeploymentsFailedError):
        world.run(failover(a_tier("fast", "a", "b", max_wait_s=6), a_request(), Trail()))

    assert world.asked == ["a", "b", "a"]
    assert world.pauses == [4]


def test_a_tier_that_waits_since_earlier_steps_is_not_asked_at_all() -> None:
    world, tier = World(scripted(a=["never"])), a_tier("fast", "a", max_wait_s=5)
    world.guard.health.failed(tier.tier.deployments[0], limited(60))

    with pytest.raises(AllDeploymentsFailedError, match="all are waiting for a Retry-After"):
        world.run(failover(tier, a_request(), Trail()))

    assert world.asked == []


def test_a_wrong_request_is_wrong_everywhere() -> None:
    wrong = RejectedError("no such field")
    world, trail = World(scripted(a=[wrong], b=["never"])), Trail()

    with pytest.raises(RejectedError, match="no such field"):
        world.run(failover(a_tier("fast", "a", "b"), a_request(), trail))

    assert world.asked == ["a"]
    assert trail.failures == [wrong]


def test_the_cost_of_a_trail_is_unknown_if_one_reply_has_no_price() -> None:
    world, trail = World(scripted(a=["x"])), Trail()
    world.run(failover(a_tier("fast", "a"), a_request(), trail))
    world.run(failover(a_tier("fast", "a"), a_request(), trail))

    assert trail.cost_usd == pytest.approx(0.02)
    assert (trail.usage.input_tokens, trail.usage.output_tokens) == (20, 4)

    unpriced = Reply("x", "fast", "a", "a", trail.usage, cost_usd=None, latency_ms=1)
    trail.attempts.append(Attempt("fast", "answer", reply=unpriced))
    assert trail.cost_usd is None


@dataclass(frozen=True)
class Trouble:
    """A tier, what each deployment does in turn, and who must be left alone from before."""

    tier: NamedTier
    scripts: dict[str, list[str | AttemptError]]
    closed_s: dict[str, float]


# In quarters of a second sums are exact.
seconds = st.integers(0, 80).map(lambda quarters: quarters / 4)
errors: st.SearchStrategy[AttemptError] = st.one_of(
    st.builds(limited, seconds),
    st.builds(closed, seconds),
    st.sampled_from(
        [
            AttemptTimeoutError("slow"),
            RateLimitedError("busy"),
            ProviderDownError("down"),
            DeniedError("no"),
            ContextLengthError("long"),
            RejectedError("wrong"),
        ]
    ),
)


@st.composite
def troubles(draw: st.DrawFn) -> Trouble:
    models = [f"m{number}" for number in range(draw(st.integers(1, 4)))]
    step: st.SearchStrategy[str | AttemptError] = st.one_of(errors, errors, st.just("text"))
    script = st.lists(step, min_size=1, max_size=3)
    return Trouble(
        a_tier("fast", *models, max_wait_s=draw(seconds)),
        {model: draw(script) for model in models},
        {model: draw(seconds) for model in models if draw(st.booleans())},
    )


@given(troubles())
def test_whatever_happens_it_ends_in_order_and_never_too_early(trouble: Trouble) -> None:
    world, trail = World(scripted(**trouble.scripts)), Trail()
    deployments = trouble.tier.tier.deployments
    for each in deployments:
        name = each.model.partition("/")[2]
        if name in trouble.closed_s:
            world.guard.health.failed(each, limited(trouble.closed_s[name]))

    try:
        ended = world.run(failover(trouble.tier, a_request(), trail))
    except (AllDeploymentsFailedError, RejectedError) as error:
        ended = error

    times = Counter(world.asked)
    assert all(count <= 2 for count in times.values())
    assert sum(world.pauses) <= trouble.tier.tier.max_wait_s
    assert [ask.attempt for _, ask in world.asks] == list(range(1, len(world.asks) + 1))
    open_from = dict(trouble.closed_s)
    seen: set[str] = set()
    for (at, _), model, failure in zip(
        world.asks, world.asked, [*trail.failures, None], strict=False
    ):
        # Asked again only where a time to come back was named, and never before it.
        assert model not in seen or model in open_from
        assert at >= open_from.get(model, 0)
        open_from.pop(model, None)
        seen.add(model)
        if failure is not None and failure.retry_after_s is not None:
            open_from[model] = at + failure.retry_after_s
    match ended:
        case RejectedError():
            assert trail.failures[-1] is ended
        case AllDeploymentsFailedError():
            assert list(ended.attempts) == trail.failures
            assert all(str(failure) in str(ended) for failure in trail.failures)
        case reply:
            assert trail.replies == [reply]


@given(troubles())
def test_everyone_is_asked_before_anyone_is_asked_twice(trouble: Trouble) -> None:
    world = World(scripted(**trouble.scripts))

    with suppress(AllDeploymentsFailedError, RejectedError):
        world.run(failover(trouble.tier, a_request(), Trail()))

    first_round = world.asked[: len(trouble.scripts)]
    assert len(set(first_round)) == len(first_round)


FAILURES: dict[str, tuple[Step, type[AttemptError]]] = {
    "timeout": (Hang(math.inf), AttemptTimeoutError),
    "429": (Fail(429), RateLimitedError),
    "500": (Fail(500), ProviderDownError),
    "503": (Fail(503), ProviderDownError),
    "dropped": (Drop(), ProviderDownError),
    "401": (Fail(401), DeniedError),
    "404": (Fail(404), DeniedError),
    "full by code": (FULL_BY_CODE, ContextLengthError),
    "full by message": (FULL_BY_MESSAGE, ContextLengthError),
    "broken body": (BreakStream(1, "half an answer"), ProviderDownError),
    "no JSON": (Raw(200, "<html>busy</html>", "text/html"), ProviderDownError),
}
each_failure = pytest.mark.parametrize("failure", FAILURES)


@both_ways
@each_failure
def test_the_second_deployment_answers_where_the_first_fails(
    way: Way, failure: str, catalogue: Catalogue, provider: FakeProvider
) -> None:
    step, kind = FAILURES[failure]
    catalogue(fast=["a", "b"], timeout_s=1.0 if failure == "timeout" else 10.0)
    provider.script("a", step)
    provider.script("b", Say("from b"))

    answer = way.step(plain)("Where is it?")

    assert (answer.value, answer.deployment) == ("from b", f"openai/b@{provider.base_url}")
    assert len(answer.failures) == 1
    assert kind.__name__ in answer.failures[0]
    assert [call.model for call in provider.calls] == ["a", "b"]


STREAM_FAILURES: dict[str, Step] = {
    "broken after words": BreakStream(2, "I was going to say"),
    "broken before words": BreakStream(0, "I was going to say"),
    "empty": Raw(200, "", "text/event-stream"),
    "only its end": Raw(200, "data: [DONE]\n\n", "text/event-stream"),
    "a page instead": Raw(200, "<html>busy</html>", "text/html"),
    "429": Fail(429),
    "dropped": Drop(),
}


@both_ways
@pytest.mark.parametrize("failure", STREAM_FAILURES)
def test_a_stream_that_fails_begins_anew_at_the_next_deployment(
    way: Way, failure: str, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue(fast=["a", "b"])
    provider.script("a", STREAM_FAILURES[failure])
    provider.script("b", Say("This is it."))
    chunks: list[Chunk] = []

    answer = way.step(plain, on_chunk=chunks.append)("Where is it?")

    assert answer.value == "This is it."
    assert len(answer.failures) == 1
    assert "".join(chunk.text for chunk in chunks if chunk.attempt == 2) == "This is it."
    begun = [chunk.text for chunk in chunks if chunk.attempt == 1]
    assert begun == (["I ", "was "] if failure == "broken after words" else [])
    assert [chunk.attempt for chunk in chunks] == sorted(chunk.attempt for chunk in chunks)


@both_ways
def test_a_request_that_is_wrong_stops_at_the_first_deployment(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue(fast=["a", "b"])
    provider.script("a", Fail(400, "Unknown parameter: 'colour'."))
    provider.script("b", Say("never"))

    with pytest.raises(RejectedError, match="Unknown parameter: 'colour'"):
        way.step(plain)("Where is it?")

    assert [call.model for call in provider.calls] == ["a"]


@both_ways
def test_a_retry_after_is_kept_and_the_other_deployment_is_asked_meanwhile(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue(fast=["a", "b"], max_wait_s=0.0)
    provider.script("a", [Fail(429, retry_after_s=3600), Say("never")])
    provider.script("b", Say("from b"))
    step = way.step(plain, cache=None)

    first, second = step("one"), step("two")

    assert (first.value, second.value) == ("from b", "from b")
    assert second.failures == ()
    assert [call.model for call in provider.calls] == ["a", "b", "b"]


@both_ways
def test_a_short_retry_after_is_waited_for_when_nobody_else_is_left(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue(fast=["a", "b"], max_wait_s=5.0)
    provider.script("a", [Fail(429, retry_after_s=0.2), Say("from a")])
    provider.script("b", Fail(500))

    answer = way.step(plain)("Where is it?")

    assert answer.value == "from a"
    assert len(answer.failures) == 2
    refused, _, again = provider.calls
    assert [call.model for call in provider.calls] == ["a", "b", "a"]
    assert again.at - refused.at >= 0.2


@both_ways
def test_when_all_fail_the_message_names_every_attempt_and_the_remedy(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue(fast=["a", "b"], max_wait_s=1.0)
    provider.script("a", Fail(429, "Too many.", retry_after_s=20))
    provider.script("b", Fail(503, "Overloaded."))

    with pytest.raises(AllDeploymentsFailedError) as caught:
        way.step(plain)("Where is it?")

    message = str(caught.value)
    assert f"openai/a@{provider.base_url}: RateLimitedError (429)" in message
    assert f"openai/b@{provider.base_url}: ProviderDownError (503)" in message
    assert "the next may be asked in 20 s" in message
    assert "add a deployment to [tiers.fast]" in message
    assert [type(each) for each in caught.value.attempts] == [RateLimitedError, ProviderDownError]


@both_ways
def test_a_step_asked_while_another_error_is_handled_fails_over_as_ever(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue(fast=["a"], standard=["b", "c"])
    provider.script("a", Fail(500))
    provider.script("b", Fail(500))
    provider.script("c", Say("from c"))

    def ask() -> str:
        try:
            return way.step(plain)("Where is it?").text
        except AllDeploymentsFailedError:
            return way.step(plain, tier="standard")("Where is it?").text

    assert ask() == "from c"
