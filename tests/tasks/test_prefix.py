"""Prefix: of parallel calls with one prefix, one writes it. Threads, event loop, real sockets."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest
from prefect import unmapped

from tests.fakes import Billing, BreakStream, Fail, FakeProvider, Say
from tests.fakes.terms import TERMS
from tests.tasks.ways import run_async
from tierflow import Chunk
from tierflow.caching.prefix import Keeper, expecting
from tierflow.errors import AttemptError
from tierflow.request import Reply, Request
from tierflow.routing import Ask, LiteLLMClient, NamedTier
from tierflow.settings import Deployment, Tier
from tierflow.tasks.prefix import ask_kept, ask_kept_async
from tierflow.tasks.step_task import mapped_calls

CALLS = 16
PREFIX = "Sort the message of the customer to the desk that should answer it. " * 500
SAY = Say("refund", delay_s=0.05)

MARKED = {
    "anthropic/claude-haiku-5-5": {},
    "openai/gpt-6-luna": {"prompt_cache": "openai"},
}
UNASKED = {
    "openai/gpt-5.4-mini": {"prompt_cache": "automatic"},
    "gemini/gemini-3.8-flash": {},
}


@pytest.fixture(scope="module")
def billing() -> Billing:
    return Billing(TERMS)


@pytest.fixture(scope="module")
def running(
    billing: Billing,
    running_provider: FakeProvider,  # at its end, what is left open is closed
) -> Iterator[FakeProvider]:
    with FakeProvider(default=SAY, billing=billing) as provider:
        yield provider


@pytest.fixture
def biller(running: FakeProvider, billing: Billing) -> FakeProvider:
    """A provider that charges by each model's rules, with empty caches."""
    running.reset()
    billing.reset()
    return running


@pytest.fixture
def keeper() -> Keeper:
    return Keeper({}, time.monotonic)


def an_ask(
    provider: FakeProvider,
    model: str,
    number: int,
    *,
    prefix: str = PREFIX,
    on_chunk: Callable[[Chunk], None] | None = None,
    timeout_s: float = 30.0,
) -> Ask:
    base = provider.base_url if model.startswith("openai/") else provider.root_url
    options: dict[str, Any] = {**MARKED, **UNASKED}[model]
    deployment = Deployment(model=model, api_base=base, **options)
    messages = (
        {"role": "system", "content": prefix},
        {"role": "user", "content": f"This is message {number}."},
    )
    tier = NamedTier("fast", Tier(deployments=(deployment,), timeout_s=timeout_s))
    return Ask(deployment, tier, Request("sort", messages, 1), "answer", 1, on_chunk)


Fanning = Callable[[list[Ask], Keeper], list[Reply]]


def in_threads(asks: list[Ask], keeper: Keeper) -> list[Reply]:
    """All asks at once, as a thread pool runs a map."""
    barrier = threading.Barrier(len(asks))

    def ask(each: Ask) -> Reply:
        barrier.wait()
        return ask_kept(each, keeper, LiteLLMClient({}))

    with expecting(len(asks)), ThreadPoolExecutor(len(asks)) as pool:
        return [done.result() for done in [pool.submit(copy_context().run, ask, a) for a in asks]]


def on_a_loop(asks: list[Ask], keeper: Keeper) -> list[Reply]:
    """All asks at once, on one event loop."""

    async def ask_all() -> list[Reply]:
        with expecting(len(asks)):
            return await asyncio.gather(
                *(ask_kept_async(each, keeper, LiteLLMClient({})) for each in asks)
            )

    return run_async(ask_all)


both_ways = pytest.mark.parametrize("fanning", [in_threads, on_a_loop], ids=["threads", "loop"])


@both_ways
@pytest.mark.parametrize("model", MARKED)
def test_parallel_calls_with_one_prefix_write_it_once(
    model: str, fanning: Fanning, biller: FakeProvider, billing: Billing, keeper: Keeper
) -> None:
    replies = fanning([an_ask(biller, model, number) for number in range(CALLS)], keeper)

    written = [reply for reply in replies if reply.usage.cache_write_tokens]
    read = [reply for reply in replies if reply.usage.cache_read_tokens]
    assert len(written) == 1
    # The first call of all knows nothing of the others unless they come at once.
    assert len(read) >= CALLS - 2
    assert sum(reply.cost_usd or 0 for reply in replies) == pytest.approx(
        billing.usd(model.partition("/")[2]) + CALLS * replies[0].usage.output_tokens * 5e-7
    )


@both_ways
@pytest.mark.parametrize("model", UNASKED)
def test_where_prefixes_are_kept_unasked_the_others_wait_for_the_first_too(
    model: str, fanning: Fanning, biller: FakeProvider, keeper: Keeper
) -> None:
    replies = fanning([an_ask(biller, model, number) for number in range(CALLS)], keeper)

    assert sum(not reply.usage.cache_read_tokens for reply in replies) == 1


@both_ways
def test_where_every_prefix_is_different_nothing_is_marked_and_nobody_waits(
    fanning: Fanning, biller: FakeProvider, billing: Billing, keeper: Keeper
) -> None:
    model = "anthropic/claude-haiku-5-5"
    asks = [an_ask(biller, model, n, prefix=f"Desk {n}. {PREFIX}") for n in range(CALLS)]

    fanning(asks, keeper)

    tally = billing.tally("claude-haiku-5-5")
    assert (tally.write, tally.read) == (0, 0)


def test_a_leader_that_fails_is_followed_by_another(
    biller: FakeProvider, billing: Billing, keeper: Keeper
) -> None:
    model = "anthropic/claude-haiku-5-5"
    asks = [an_ask(biller, model, number) for number in range(CALLS)]
    _know(keeper, asks[0])
    biller.script("claude-haiku-5-5", [Fail(500), Fail(500), SAY])

    def ask(each: Ask) -> Reply | AttemptError:
        try:
            return ask_kept(each, keeper, LiteLLMClient({}))
        except AttemptError as error:
            return error

    with ThreadPoolExecutor(CALLS) as pool:
        ended = list(pool.map(ask, asks))

    replies = [each for each in ended if isinstance(each, Reply)]
    assert len(replies) == CALLS - 2
    assert sum(bool(reply.usage.cache_write_tokens) for reply in replies) == 1


def test_a_leader_that_is_cancelled_is_followed_by_another(
    biller: FakeProvider, keeper: Keeper
) -> None:
    model = "anthropic/claude-haiku-5-5"
    asks = [an_ask(biller, model, number) for number in range(3)]
    _know(keeper, asks[0])
    biller.script("claude-haiku-5-5", [Say("never", delay_s=60), SAY])

    async def cancel_the_first() -> list[Reply]:
        client = LiteLLMClient({})
        leader, *others = [
            asyncio.create_task(ask_kept_async(each, keeper, client)) for each in asks
        ]
        await asyncio.to_thread(biller.wait_for_calls, 1)
        leader.cancel()
        return await asyncio.gather(*others)

    replies = run_async(cancel_the_first)

    assert sum(bool(reply.usage.cache_write_tokens) for reply in replies) == 1
    assert sum(bool(reply.usage.cache_read_tokens) for reply in replies) == 1


def test_a_call_waits_for_a_leader_no_longer_than_for_a_reply(
    biller: FakeProvider, keeper: Keeper
) -> None:
    model = "anthropic/claude-haiku-5-5"
    _know(keeper, an_ask(biller, model, 0))
    biller.script("claude-haiku-5-5", [Say("late", delay_s=60), SAY])

    with ThreadPoolExecutor(2) as pool:
        leading = pool.submit(
            ask_kept, an_ask(biller, model, 1, timeout_s=2), keeper, LiteLLMClient({})
        )
        biller.wait_for_calls(1)
        follower = an_ask(biller, model, 2, timeout_s=0.2)
        following = pool.submit(ask_kept, follower, keeper, LiteLLMClient({}))

        assert following.result().text == "refund"
        assert isinstance(leading.exception(), AttemptError)


def test_a_stream_lets_the_others_go_at_its_first_chunk(
    biller: FakeProvider, keeper: Keeper
) -> None:
    model = "anthropic/claude-haiku-5-5"
    _know(keeper, an_ask(biller, model, 0))
    other_replied = threading.Event()

    def wait_for_the_other(_: Chunk) -> None:
        assert other_replied.wait(30)

    streaming = an_ask(biller, model, 1, on_chunk=wait_for_the_other)
    with ThreadPoolExecutor(2) as pool:
        leading = pool.submit(ask_kept, streaming, keeper, LiteLLMClient({}))
        biller.wait_for_calls(1)
        reply = ask_kept(an_ask(biller, model, 2), keeper, LiteLLMClient({}))
        other_replied.set()

        assert leading.result().usage.cache_write_tokens
        assert reply.usage.cache_read_tokens


def test_a_stream_that_breaks_before_its_first_chunk_is_followed_by_another(
    biller: FakeProvider, keeper: Keeper
) -> None:
    model = "anthropic/claude-haiku-5-5"
    ask = an_ask(biller, model, 1, on_chunk=lambda _: None)
    _know(keeper, ask)
    biller.script("claude-haiku-5-5", [BreakStream(0, "never"), SAY])

    with pytest.raises(AttemptError):
        ask_kept(ask, keeper, LiteLLMClient({}))

    assert ask_kept(ask, keeper, LiteLLMClient({})).usage.cache_write_tokens


def test_a_prefix_that_turns_out_too_short_is_not_marked_again(
    biller: FakeProvider, keeper: Keeper
) -> None:
    model = "anthropic/claude-haiku-5-5"
    short = " ".join(["word"] * 400)  # 500 tokens at four characters each; here 400
    asks = [an_ask(biller, model, number, prefix=short) for number in range(4)]

    for ask in asks:
        ask_kept(ask, keeper, LiteLLMClient({}))

    marked = ["cache_control" in str(call.body) for call in biller.calls]
    assert marked == [False, True, False, False]


def test_in_a_loop_the_second_call_writes_and_the_third_reads(
    biller: FakeProvider, keeper: Keeper
) -> None:
    asks = [an_ask(biller, "anthropic/claude-haiku-5-5", number) for number in range(4)]

    usages = [ask_kept(ask, keeper, LiteLLMClient({})).usage for ask in asks]

    assert [bool(usage.cache_write_tokens) for usage in usages] == [False, True, False, False]
    assert [bool(usage.cache_read_tokens) for usage in usages] == [False, False, True, True]


def test_calls_that_begin_at_the_same_moment_expect_one_another(
    biller: FakeProvider, keeper: Keeper
) -> None:
    asks = [an_ask(biller, "anthropic/claude-haiku-5-5", number) for number in range(12)]

    with expecting(len(asks)):
        calls = [keeper.call(ask.deployment, ask.request, role=ask.role) for ask in asks]
    outlooks = [keeper.outlook(call) for call in calls]

    assert outlooks[0].undecided is not None
    assert all(outlook.plan.marks for outlook in outlooks[1:])


def _know(keeper: Keeper, ask: Ask) -> None:
    """Have the keeper expect further calls with an ask's prefix."""
    for _ in range(20):
        keeper.outlook(keeper.call(ask.deployment, ask.request, role=ask.role))


@pytest.mark.parametrize(
    ("given", "calls"),
    [
        ((["a", "b", "c"], "constant"), 3),
        ((("a", "b"), unmapped(["x"] * 9)), 2),
        (("constant", 7), None),
        ((), None),
    ],
)
def test_a_map_tells_how_many_calls_it_makes(given: tuple[Any, ...], calls: int | None) -> None:
    assert mapped_calls(given) == calls
