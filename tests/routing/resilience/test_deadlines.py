"""Deadlines: a step ends by then, whatever it was at; and no connection is made for it."""

import math
from threading import Thread
from typing import Any

import pytest

from tests.conftest import Catalogue
from tests.fakes import Fail, FakeProvider, Hang, Say
from tests.routing.world import World, a_request, a_tier, scripted
from tests.tasks.test_outages import amend
from tests.tasks.ways import Way, both_ways, plain
from tierflow import Cascade, Chunk, agreement
from tierflow.errors import (
    AllDeploymentsFailedError,
    DeadlineExceededError,
    ProviderDownError,
    RateLimitedError,
)
from tierflow.routing import Trail
from tierflow.routing.failover import failover
from tierflow.routing.vendor import litellm


def test_a_call_is_given_what_is_left_and_no_more() -> None:
    world = World(scripted(a=["from a"]))
    tier, left = a_tier("fast", "a", timeout_s=10), iter([3.0, 3.0, 60.0, 60.0, *[math.inf] * 2])
    for _ in range(3):
        world.run(failover(tier, a_request(), Trail(left_s=lambda: next(left))))
    assert [ask.timeout_s for _, ask in world.asks] == [3.0, None, None]


def test_what_is_left_shrinks_by_waits_and_attempts() -> None:
    told = RateLimitedError("later", retry_after_s=3)
    world = World(scripted(a=[told, "from a"], b=[ProviderDownError("down")]))
    trail = Trail(left_s=lambda: 5 - world.now)
    world.run(failover(a_tier("fast", "a", "b", timeout_s=10), a_request(), trail))
    assert [ask.timeout_s for _, ask in world.asks] == [5.0, 5.0, 2.0]


def test_no_wait_begins_that_would_end_after_the_deadline() -> None:
    told = RateLimitedError("later", retry_after_s=5)
    world = World(scripted(a=[told, "never"]))
    trail = Trail(left_s=lambda: 5 - world.now)
    with pytest.raises(DeadlineExceededError, match="later") as caught:
        world.run(failover(a_tier("fast", "a"), a_request(), trail))
    assert caught.value.attempts == (told,)
    assert "Raise deadline_s" in str(caught.value)
    assert world.pauses == []


def test_nobody_is_asked_after_it() -> None:
    world = World(scripted(a=["never"]))
    with pytest.raises(DeadlineExceededError, match="no time is left"):
        world.run(failover(a_tier("fast", "a"), a_request(), Trail(left_s=lambda: 0.0)))
    assert world.asks == []


def nobody_listens(_: Chunk) -> None:
    """Stream, and drop what comes."""


@both_ways
@pytest.mark.parametrize("on_chunk", [None, nobody_listens], ids=["whole", "streamed"])
def test_a_step_ends_at_its_deadline_while_a_provider_hangs(
    way: Way, catalogue: Catalogue, provider: FakeProvider, on_chunk: Any
) -> None:
    catalogue(fast=["a", "b"], timeout_s=60.0)
    provider.script("a", Hang(3600))
    provider.script("b", Say("never"))

    with pytest.raises(DeadlineExceededError) as caught:
        way.step(plain, deadline_s=0.5, on_chunk=on_chunk)("Where is it?")

    assert "no reply in the" in str(caught.value)
    # It was hung up on.
    provider.wait_until_idle()
    assert not provider.calls_to("b")


@both_ways
def test_a_tiers_deadline_holds_for_the_steps_that_begin_there(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    amend(catalogue(fast=["a"], frontier=["b"], timeout_s=60.0), tiers="deadline_s = 0.5")
    provider.script("a", Fail(500))
    provider.script("b", Hang(3600))
    with pytest.raises(AllDeploymentsFailedError, match="deadline"):
        way.step(plain, cascade=Cascade(to="frontier", judge=agreement(), max_loss=None))(
            "Where is it?"
        )


@both_ways
def test_a_step_that_waits_for_another_of_the_same_question_keeps_its_own_deadline(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue(fast=["a"], timeout_s=60.0)
    provider.script("a", [Say("in the end", delay_s=3.0), Say("never")])
    leading = Thread(target=Way(is_async=False).step(plain), args=("the same",))
    leading.start()
    provider.wait_for_calls(1)

    with pytest.raises(DeadlineExceededError):
        way.step(plain, deadline_s=0.2)("the same")

    assert leading.is_alive()
    leading.join(60)


def test_deadlines_of_any_length_share_one_connection(
    catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue(fast=["a"])
    provider.script("a", Say("fine"))
    kept: Any = litellm().in_memory_llm_clients_cache
    Way(is_async=False).step(plain, deadline_s=4.5)("the first")
    clients = set(kept.cache_dict)

    for number in range(5):
        Way(is_async=False).step(plain, deadline_s=5 + number / 7)(str(number))

    assert set(kept.cache_dict) == clients
    assert len(provider.calls) == 6


@pytest.mark.parametrize("deadline_s", [0, -1.0])
def test_a_deadline_that_leaves_no_time_is_refused(deadline_s: float) -> None:
    with pytest.raises(ValueError, match="leaves no time"):
        Way(is_async=False).step(plain, deadline_s=deadline_s)
