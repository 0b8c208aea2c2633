"""Identical requests under way at the same time: asked once, in threads and on an event loop."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.conftest import Catalogue
from tests.fakes import Fail, FakeProvider, Say
from tests.fakes import Step as Reply
from tests.tasks.conftest import Rows
from tests.tasks.ways import plain, run_async
from tierflow import Chunk, llm_task
from tierflow.caching import Flights, Key
from tierflow.caching.flight import Flight
from tierflow.errors import AllDeploymentsFailedError
from tierflow.request import Request
from tierflow.routing import Ask, LiteLLMClient, resolve
from tierflow.settings import settings
from tierflow.tasks import hands

PATIENCE_S = 30.0
FOLLOWERS = 5


class CountedFlights(Flights):
    """Flights that let a test wait until so many follow."""

    def __init__(self) -> None:
        super().__init__()
        self._followers = threading.Semaphore(0)

    def board(self, key: Key) -> Flight | None:
        """Board, and count those who do not lead."""
        flight = super().board(key)
        if flight is not None:
            self._followers.release()
        return flight

    def wait_for_followers(self, count: int) -> None:
        """Block until so many more have boarded behind a leader."""
        for _ in range(count):
            assert self._followers.acquire(timeout=PATIENCE_S)


@dataclass
class Gate:
    """Holds back the provider's replies until it opens."""

    replies: Iterator[Reply]
    _opened: threading.Event = field(default_factory=threading.Event)

    def __call__(self, _body: dict[str, Any]) -> Reply:
        assert self._opened.wait(PATIENCE_S)
        return next(self.replies)

    def open(self) -> None:
        """Let all replies through from now on."""
        self._opened.set()


@pytest.fixture(autouse=True)
def one_client(catalogue: Catalogue, provider: FakeProvider) -> None:
    """Have litellm make its client now: of several threads each makes one, and one is closed."""
    catalogue(timeout_s=PATIENCE_S)
    provider.script("fast", Say("warm"))
    tier = resolve(settings().tiers, "fast", {})
    request = Request("warm up", ({"role": "user", "content": "?"},))
    LiteLLMClient({}).ask(Ask(tier.tier.deployments[0], tier, request, "answer", 1))
    provider.reset()


@pytest.fixture
def flights() -> CountedFlights:
    flights = CountedFlights()
    hands().flights = flights
    return flights


def gated(provider: FakeProvider, *replies: Reply) -> Gate:
    gate = Gate(iter(replies))
    provider.script("fast", gate)
    return gate


@llm_task(tier="fast")
def ask(question: str) -> str:
    """Ask, waiting in a thread."""
    return question


@llm_task(tier="fast", name="ask")
async def ask_async(question: str) -> str:
    """The same step on an event loop."""
    return question


def test_threads_with_the_same_question_ask_once(
    provider: FakeProvider, flights: CountedFlights, rows: Rows
) -> None:
    gate = gated(provider, Say("one reply"))
    with ThreadPoolExecutor(FOLLOWERS + 1) as pool:
        answers = [pool.submit(ask.answer.fn, "?") for _ in range(FOLLOWERS + 1)]
        flights.wait_for_followers(FOLLOWERS)
        gate.open()
        found = [answer.result(PATIENCE_S) for answer in answers]
    assert {answer.value for answer in found} == {"one reply"}
    assert sorted(answer.cache for answer in found) == ["exact"] * FOLLOWERS + ["miss"]
    assert len(provider.calls) == 1
    assert sum(row["asks"] for row in rows()) == 1
    assert sum(row["cost_usd"] > 0 for row in rows()) == 1


def test_coroutines_with_the_same_question_ask_once(
    provider: FakeProvider, flights: CountedFlights
) -> None:
    gate = gated(provider, Say("one reply"))

    async def crowd() -> list[Any]:
        answers = [asyncio.create_task(ask_async.answer.fn("?")) for _ in range(FOLLOWERS + 1)]
        await asyncio.to_thread(flights.wait_for_followers, FOLLOWERS)
        gate.open()
        return await asyncio.gather(*answers)

    found = run_async(crowd)
    assert {answer.value for answer in found} == {"one reply"}
    assert sorted(answer.cache for answer in found) == ["exact"] * FOLLOWERS + ["miss"]
    assert len(provider.calls) == 1


def test_a_coroutine_follows_a_thread(provider: FakeProvider, flights: CountedFlights) -> None:
    gate = gated(provider, Say("one reply"))

    async def follow() -> Any:
        following = asyncio.create_task(ask_async.answer.fn("?"))
        await asyncio.to_thread(flights.wait_for_followers, 1)
        gate.open()
        return await following

    with ThreadPoolExecutor(1) as pool:
        leading = pool.submit(ask.answer.fn, "?")
        provider.wait_for_calls(1)
        assert run_async(follow).cache == "exact"
        assert leading.result(PATIENCE_S).cache == "miss"
    assert len(provider.calls) == 1


def test_other_questions_do_not_wait(provider: FakeProvider) -> None:
    provider.script("fast", lambda body: Say(body["messages"][0]["content"].upper()))
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask.fn, "abcd")) == ["A", "B", "C", "D"]
    assert len(provider.calls) == 4


def test_followers_in_threads_get_the_leaders_error(
    provider: FakeProvider, flights: CountedFlights, rows: Rows
) -> None:
    gate = gated(provider, Fail(500), Say("too late"))
    with ThreadPoolExecutor(FOLLOWERS + 1) as pool:
        answers = [pool.submit(ask.fn, "?") for _ in range(FOLLOWERS + 1)]
        flights.wait_for_followers(FOLLOWERS)
        gate.open()
        errors = [answer.exception(PATIENCE_S) for answer in answers]
    assert {type(error) for error in errors} == {AllDeploymentsFailedError}
    assert len(provider.calls) == 1
    assert [row["outcome"] for row in rows()] == ["AllDeploymentsFailedError"] * (FOLLOWERS + 1)
    assert sum(row["failed_attempts"] for row in rows()) == 1
    assert ask.fn("?") == "too late"


def test_follower_coroutines_get_the_leaders_error(
    provider: FakeProvider, flights: CountedFlights
) -> None:
    gate = gated(provider, Fail(500))

    async def crowd() -> list[Any]:
        answers = [asyncio.create_task(ask_async.fn("?")) for _ in range(FOLLOWERS + 1)]
        await asyncio.to_thread(flights.wait_for_followers, FOLLOWERS)
        gate.open()
        return await asyncio.gather(*answers, return_exceptions=True)

    assert {type(each) for each in run_async(crowd)} == {AllDeploymentsFailedError}
    assert len(provider.calls) == 1


def test_a_follower_takes_over_from_a_cancelled_leader(
    provider: FakeProvider, flights: CountedFlights
) -> None:
    gate = gated(provider, Say("for the leader"), Say("for the follower"))

    async def crowd() -> list[Any]:
        leader = asyncio.create_task(ask_async.answer.fn("?"))
        await asyncio.to_thread(provider.wait_for_calls, 1)
        followers = [asyncio.create_task(ask_async.answer.fn("?")) for _ in range(FOLLOWERS)]
        await asyncio.to_thread(flights.wait_for_followers, FOLLOWERS)
        leader.cancel()
        await asyncio.wait([leader])
        assert leader.cancelled()
        gate.open()
        return await asyncio.gather(*followers)

    found = run_async(crowd)
    assert {answer.value for answer in found} == {"for the follower"}
    assert sorted(answer.cache for answer in found) == ["exact"] * (FOLLOWERS - 1) + ["miss"]
    assert len(provider.calls) == 2


def test_a_cancelled_follower_disturbs_nobody(
    provider: FakeProvider, flights: CountedFlights
) -> None:
    gate = gated(provider, Say("one reply"))

    async def crowd() -> list[Any]:
        answers = [asyncio.create_task(ask_async.fn("?")) for _ in range(3)]
        await asyncio.to_thread(flights.wait_for_followers, 2)
        answers[1].cancel()
        await asyncio.wait([answers[1]])
        gate.open()
        return await asyncio.gather(*answers, return_exceptions=True)

    first, cancelled, last = run_async(crowd)
    assert (first, last) == ("one reply", "one reply")
    assert isinstance(cancelled, asyncio.CancelledError)
    assert len(provider.calls) == 1


def test_a_follower_takes_over_from_an_interrupted_thread(
    provider: FakeProvider, flights: CountedFlights
) -> None:
    gate = gated(provider, Say("for the leader"), Say("for the follower"))

    def interrupt(_chunk: Chunk) -> None:
        raise KeyboardInterrupt

    interrupted = ask.with_options(on_chunk=interrupt)
    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(interrupted.fn, "?")
        provider.wait_for_calls(1)
        follower = pool.submit(ask.answer.fn, "?")
        flights.wait_for_followers(1)
        gate.open()
        assert isinstance(leader.exception(PATIENCE_S), KeyboardInterrupt)
        answer = follower.result(PATIENCE_S)
    assert (answer.value, answer.cache) == ("for the follower", "miss")


def test_steps_without_a_cache_each_ask_for_themselves(provider: FakeProvider) -> None:
    provider.script("fast", Say("x"))
    uncached = llm_task(tier="fast", cache=None)(plain)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(uncached.fn, ["?"] * 4)) == ["x"] * 4
    assert len(provider.calls) == 4


def test_the_first_steps_of_a_process_may_all_start_at_once(
    provider: FakeProvider, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    provider.script("fast", Say("x"))
    together = threading.Barrier(12)

    def start(number: int) -> str:
        together.wait(PATIENCE_S)
        return ask.fn(str(number))

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(start, range(12))) == ["x"] * 12
    assert len(rows()) == 12
    assert "goes on without it" not in caplog.text
