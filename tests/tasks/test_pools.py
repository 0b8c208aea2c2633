"""Pools: steps over real sockets to replicas with prefix caches, which die, restart and join."""

# What is held is nowhere else to be seen.
# pyright: reportPrivateUsage=false

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from tests.fakes import Drop, Fail, FakeEngine, Hang
from tests.routing.world import a_request
from tests.tasks.conftest import Rows
from tests.tasks.pooled import TENANTS, a_pool, asked, hit_rate, items, served, urls
from tests.tasks.ways import Way, both_ways, run_async
from tests.tasks.world import in_a_flow
from tierflow import Chunk
from tierflow.errors import AllDeploymentsFailedError, RejectedError
from tierflow.routing import Ask, Hedge, NamedTier, Place
from tierflow.settings import _load, settings
from tierflow.tasks import close_hands, hands
from tierflow.tasks.calling import call_async

PATIENCE_S = 60.0


@both_ways
def test_a_prefix_goes_to_the_replica_that_has_read_it(
    way: Way, project: Path, engines: list[FakeEngine]
) -> None:
    a_pool(project, urls(engines))
    step = way.step(asked, cache=None)

    answers = [step(each) for each in items(4)]

    assert not any(answer.failures for answer in answers)
    # Each prefix is read once; 18 of 24 calls find theirs.
    assert hit_rate(engines) > 0.7
    # What nobody holds goes to who is the first by hash among the idle: not to one alone.
    assert sum(count > 0 for count in served(engines)) >= 2


def test_without_affinity_the_load_alone_decides(project: Path, engines: list[FakeEngine]) -> None:
    a_pool(project, urls(engines), 'affinity = "none"')
    step = Way(is_async=False).step(asked, cache=None)

    for each in items(4):
        step(each)

    assert hit_rate(engines) < 0.7
    assert sum(count > 0 for count in served(engines)) >= 2


def test_an_answer_names_the_pool_and_its_key_no_member(
    project: Path, engines: list[FakeEngine], calls: Rows
) -> None:
    a_pool(project, urls(engines[:1]))
    step = Way(is_async=False).step(asked)
    first = step("tenant:ask")
    a_pool(project, urls(engines[1:]))
    close_hands()
    _load.cache_clear()

    again = step("tenant:ask")

    assert (first.deployment, first.cache) == ("openai/llama@llama", "miss")
    assert (again.value, again.cache) == ("from a", "exact")
    assert not engines[1].all_calls
    assert {row["deployment"] for row in calls()} == {"openai/llama@llama"}


@both_ways
def test_a_replica_that_fails_gives_way_to_another_at_once(
    way: Way, project: Path, engines: list[FakeEngine]
) -> None:
    a_pool(project, urls(engines))
    step = way.step(asked, cache=None)
    first = step("tenant:one")
    holder = next(each for each in engines if each.all_calls)
    holder.next(Drop())

    answer = step("tenant:two")

    assert answer.value != first.value
    assert len(answer.failures) == 1
    assert holder.base_url in answer.failures[0]


def test_a_request_that_is_wrong_everywhere_is_asked_once(
    project: Path, engines: list[FakeEngine]
) -> None:
    a_pool(project, urls(engines))
    for each in engines:
        each.next(Fail(400))
    step = Way(is_async=False).step(asked, cache=None)

    with pytest.raises(RejectedError):
        step("tenant:ask")

    assert sum(served(engines)) == 1


def test_the_deployment_fails_when_all_its_replicas_have(
    project: Path, engines: list[FakeEngine]
) -> None:
    a_pool(project, urls(engines))
    for each in engines:
        each.next(*[Fail(500)] * 9)
    step = Way(is_async=False).step(asked, cache=None)

    with pytest.raises(AllDeploymentsFailedError) as caught:
        step("tenant:ask")

    assert served(engines) == [1, 1, 1]
    assert len(caught.value.attempts) == 3


def test_a_breaker_is_one_replicas_own(project: Path, engines: list[FakeEngine]) -> None:
    a_pool(
        project,
        urls(engines),
        tail="[breaker]\nfailures_in_a_row = 1\nopen_s = 3600\nmax_open_s = 3600",
    )
    step = Way(is_async=False).step(asked, cache=None)
    step("tenant:one")
    holder = next(each for each in engines if each.all_calls)
    holder.next(*[Fail(500)] * 9)

    answers = [step(f"tenant:{turn}") for turn in range(5)]

    assert [len(answer.failures) for answer in answers] == [1, 0, 0, 0, 0]
    assert len(holder.all_calls) == 2


@both_ways
def test_no_call_fails_when_a_replica_dies_and_comes_back(
    way: Way, project: Path, engines: list[FakeEngine]
) -> None:
    a_pool(project, urls(engines), "poll_s = 0.05")
    step = way.step(asked, cache=None)
    for each in items(2):
        step(each)
    engines[0].die()
    without = [step(each) for each in items(2)]
    engines[0].start()
    answers: list[Any] = []
    ends = monotonic() + PATIENCE_S
    while not engines[0].cache.queries:
        assert monotonic() < ends
        answers += [step(f"newcomer {len(answers)}:{each}") for each in items(1)]

    assert len(without) == 2 * TENANTS
    assert {answer.value for answer in answers} >= {"from a"}


def test_parallel_calls_survive_the_death_of_the_replicas_that_serve_them(
    project: Path, engines: list[FakeEngine]
) -> None:
    a_pool(project, urls(engines), "poll_s = 0.05")
    step = Way(is_async=False).step(asked, cache=None)
    doomed = engines[:2]
    for each in doomed:
        # Whoever is asked hangs until it dies.
        each.next(*[Hang(PATIENCE_S)] * 9)

    def kill() -> None:
        ends = monotonic() + PATIENCE_S
        while not all(served(doomed)):
            assert monotonic() < ends
        for each in doomed:
            each.die()

    with ThreadPoolExecutor(TENANTS + 1) as threads:
        killing = threads.submit(kill)
        answers = list(threads.map(step, items(3)))
    killing.result()

    assert {answer.value for answer in answers} == {"from c"}
    assert len(answers) == 3 * TENANTS
    assert any(answer.failures for answer in answers)


def test_an_engine_that_forgot_is_found_out_by_what_it_tells(
    project: Path, engines: list[FakeEngine]
) -> None:
    two = engines[:2]
    a_pool(project, urls(two), "poll_s = 3600")
    step = Way(is_async=False).step(asked, cache=None)
    step("tenant:one")
    step("tenant:two")
    holder = next(each for each in two if each.all_calls)
    pool = hands().pools._in_use["llama"]
    fleet, ends = pool.fleet, monotonic() + PATIENCE_S
    # The only look for an hour: else it might be at an engine that is down.
    while pool.queue is None:
        assert monotonic() < ends
    assert holder.cache.hits
    holder.die()
    holder.start()
    before = len(fleet._index)

    step("tenant:three")

    assert not holder.cache.hits
    assert before == len(fleet._index)
    assert [each.base_url for each in two if each.cache.queries]


def test_a_gateway_is_sent_hints_and_nothing_is_looked_up(
    project: Path, engines: list[FakeEngine]
) -> None:
    a_pool(project, urls(engines[:1]), 'affinity = "gateway"')
    step = Way(is_async=False).step(asked, cache=None)

    answer = step.within(in_a_flow, "tenant:ask")

    (call,) = engines[0].all_calls
    assert answer.value == "from a"
    assert call.headers["x-smg-routing-key"] == call.headers["x-session-id"] == "run-1"
    assert not hands().pools._in_use


def test_an_engine_without_pages_is_served_all_the_same(project: Path) -> None:
    with FakeEngine(has_pages=False, tells=False) as one, FakeEngine(has_pages=False) as other:
        a_pool(project, urls([one, other]), "poll_s = 0.05")
        step = Way(is_async=False).step(asked, cache=None)

        answers = [step(each) for each in items(3)]

        assert not any(answer.failures for answer in answers)
        assert hit_rate([one, other]) > 0.6


@both_ways
def test_a_stream_tells_when_its_prompt_was_read(
    way: Way, project: Path, engines: list[FakeEngine]
) -> None:
    a_pool(project, urls(engines))
    heard: list[str] = []

    def note(chunk: Chunk) -> None:
        heard.append(chunk.text)

    step = way.step(asked, cache=None, on_chunk=note)

    step("tenant:ask")

    assert "".join(heard).startswith("from")
    fleet = hands().pools._in_use["llama"].fleet
    assert not fleet._under_way


def test_what_was_placed_is_always_given_back(project: Path, engines: list[FakeEngine]) -> None:
    a_pool(project, urls(engines), tail="deadline_s = 1")
    step = Way(is_async=False).step(asked, cache=None)
    for each in engines:
        each.next(Fail(500), Hang(PATIENCE_S), Fail(500))

    with pytest.raises(AllDeploymentsFailedError):
        step("tenant:ask")

    assert not hands().pools._in_use["llama"].fleet._under_way


@pytest.mark.parametrize("turns", range(1, 6))
def test_a_hedged_call_gives_its_replica_back_wherever_it_is_cancelled(
    turns: int, project: Path, engines: list[FakeEngine]
) -> None:
    a_pool(project, urls(engines))
    mine, tier = hands(), NamedTier("fast", settings().tiers.get("fast"))
    (pooled,) = tier.tier.deployments
    placed = mine.pools.place(Place(pooled, a_request()))
    assert placed is not None
    first = Ask(placed.deployment, tier, a_request(), "answer", 1, placed=placed)
    second = replace(first, placed=None, attempt=2)

    async def run() -> None:
        asking = asyncio.ensure_future(call_async(Hedge(first, second, 0.0), mine))
        for _ in range(turns):
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    run_async(run)

    assert not mine.pools._in_use["llama"].fleet.under_way
