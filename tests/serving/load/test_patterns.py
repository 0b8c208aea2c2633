"""Patterns of load: what is under way at once, and in which order results come."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from tests.fakes import FakeProvider, Say
from tierflow.serving.load import Arrival, LoadClient, Timed, arriving, closed_loop, in_batches

BODIES = [{"messages": [{"role": "user", "content": f"number {at}"}]} for at in range(7)]
DONE = Timed(0.1, 0.2, (), "", None, 1, 2, None, "stop")


class Engine:
    """Answers when it is let, and writes down what began and ended."""

    def __init__(self) -> None:
        self.log: list[tuple[str, int]] = []
        self.under_way = 0
        self.most = 0

    async def ask(self, body: Mapping[str, Any]) -> Timed:
        number = int(body["messages"][0]["content"].removeprefix("number "))
        self.log.append(("began", number))
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        # Later ones of a batch end first, and long ones leave places to others.
        for _ in range(10 if number == 0 else 3 - number % 3):
            await asyncio.sleep(0)
        self.under_way -= 1
        self.log.append(("ended", number))
        return DONE


@pytest.mark.parametrize("pattern", [closed_loop, in_batches])
async def test_results_come_in_the_order_of_the_requests(
    provider: FakeProvider, pattern: Any
) -> None:
    provider.script("llama", lambda body: Say(body["messages"][-1]["content"], output_tokens=2))
    async with LoadClient.connected(provider.base_url, model="llama") as client:
        found = await pattern(client.ask, BODIES, 4)

    assert [each.text for each in found.timed] == [f"number {at}" for at in range(7)]
    assert found.failed == ()
    assert found.tokens_per_s == 14 / found.wall_s
    assert 1 <= provider.max_in_flight("llama") <= 4


async def test_in_a_closed_loop_the_next_begins_when_any_ended() -> None:
    engine = Engine()

    await closed_loop(engine.ask, BODIES, 3)

    assert engine.most == 3
    # Number 0 is the longest: it is still under way when the last one begins.
    assert engine.log.index(("began", 6)) < engine.log.index(("ended", 0))


async def test_a_batch_begins_when_all_of_the_one_before_ended() -> None:
    engine = Engine()

    await in_batches(engine.ask, BODIES, 3)

    assert engine.most == 3
    for batch in ({0, 1, 2}, {3, 4, 5}, {6}):
        part, engine.log = engine.log[: 2 * len(batch)], engine.log[2 * len(batch) :]
        assert {number for _, number in part} == batch


async def test_arrivals_wait_for_their_time_and_for_no_other_request() -> None:
    began: list[int] = []
    all_there = asyncio.Event()

    async def ask(body: Mapping[str, Any]) -> Timed:
        began.append(body["at"])
        if len(began) == 3:
            all_there.set()
        await all_there.wait()
        return DONE

    found = await arriving(ask, [Arrival(at * 0.01, {"at": at}) for at in (2, 0, 1)])

    assert began == [0, 1, 2]
    assert len(found.timed) == 3


@pytest.mark.parametrize("pattern", [closed_loop, in_batches])
async def test_nothing_at_a_time_is_refused(pattern: Any) -> None:
    with pytest.raises(ValueError, match="Give at least 1"):
        await pattern(Engine().ask, BODIES, 0)


async def test_a_load_of_nothing_takes_no_tokens() -> None:
    assert (await closed_loop(Engine().ask, [], 3)).tokens_per_s == 0


async def test_failures_of_a_load_are_told_beside_what_worked() -> None:
    replies = iter([DONE, Timed(0.1, 0.1, (), "", None, 0, 0, None, None, error="HTTP 429")])

    async def ask(body: Mapping[str, Any]) -> Timed:
        return next(replies)

    found = await closed_loop(ask, BODIES[:2], 1)

    assert found.failed == ("HTTP 429",)
