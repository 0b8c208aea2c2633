"""Batches against providers that bear only so much. Threads, event loop, real sockets."""

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Catalogue
from tests.fakes import Fail, FakeProvider, Say
from tests.fakes.steps import Step
from tests.tasks.ways import Step as Made
from tests.tasks.ways import Way, both_ways, plain, run_async
from tierflow import Chunk, Prompt
from tierflow.errors import BatchError, DeadlineExceededError
from tierflow.request import Request
from tierflow.routing import Seat, Seated
from tierflow.routing.admission import Admissions, Waiting
from tierflow.tasks import hands

PATIENCE_S = 120.0
TOOK_S = 0.02


def ask_of(body: dict[str, Any]) -> str:
    ask: str = body["messages"][-1]["content"]
    return ask


class Room:
    """A script: has room for so many calls at a time, and answers HTTP 429 to the others."""

    def __init__(
        self, calls: int, *, retry_after_s: float | None = None, took_s: float = TOOK_S
    ) -> None:
        self.calls, self.refused, self._took_s = calls, 0, took_s
        self._retry_after_s = retry_after_s
        self._ends: list[float] = []
        self._lock = threading.Lock()

    def __call__(self, body: dict[str, Any]) -> Step:
        now = time.monotonic()
        with self._lock:
            self._ends = [each for each in self._ends if each > now]
            if len(self._ends) >= self.calls:
                self.refused += 1
                return Fail(429, retry_after_s=self._retry_after_s)
            self._ends.append(now + self._took_s)
        return Say(f"re: {ask_of(body)}", delay_s=self._took_s)


def items(count: int, what: str = "item") -> list[str]:
    return [f"{what} {number}" for number in range(count)]


def ignored(_: Chunk) -> None:
    """Receive a stream for nothing."""


def answers(asked: list[str]) -> list[str]:
    return [f"re: {each}" for each in asked]


@both_ways
class TestRefusals:
    """A provider that allows only so many at once is sent as many, and no item fails."""

    @pytest.mark.parametrize("room", [1, 4])
    def test_every_item_has_its_answer(
        self, way: Way, catalogue: Catalogue, provider: FakeProvider, room: int
    ) -> None:
        catalogue()
        # Slow, so that what a busy machine adds to calls fills few places.
        script = Room(room, took_s=0.1 * room)
        provider.script("fast", script)
        asked = items(40)
        assert way.step(plain).batch(*asked) == answers(asked)
        assert script.refused > 0
        limit = hands().admissions.limit_of("plain")
        assert limit is not None
        assert limit <= room + 1

    def test_a_time_to_come_back_is_kept_and_every_item_has_its_answer(
        self, way: Way, catalogue: Catalogue, provider: FakeProvider
    ) -> None:
        catalogue()
        script = Room(2, retry_after_s=0.05)
        provider.script("fast", script)
        asked = items(30)
        assert way.step(plain).batch(*asked) == answers(asked)
        assert script.refused > 0

    def test_the_limit_recovers_when_there_is_room_again(
        self, way: Way, catalogue: Catalogue, provider: FakeProvider
    ) -> None:
        catalogue()
        later_s = 0.0
        mine = hands()
        mine.admissions = Admissions(32, clock=lambda: time.monotonic() + later_s)
        script = Room(2)
        provider.script("fast", script)
        # Streams are not timed, so what a busy machine adds to calls changes nothing here.
        step = way.step(plain, on_chunk=ignored)
        step.batch(*items(20, "first"))
        script.calls, later_s, refused = 1000, 3600.0, script.refused
        asked = items(240, "second")
        assert step.batch(*asked) == answers(asked)
        limit = mine.admissions.limit_of("plain")
        assert limit is not None
        assert limit > 8
        assert script.refused == refused

    def test_where_one_deployment_is_full_the_tiers_other_is_asked(
        self, way: Way, catalogue: Catalogue, provider: FakeProvider
    ) -> None:
        catalogue(fast=["small", "large"])
        # Slow, so that it is full however slowly this machine asks.
        provider.script("small", Room(1, took_s=0.5))
        provider.script("large", Room(1000))
        asked = items(100)
        assert way.step(plain).batch(*asked) == answers(asked)
        assert len(provider.calls_to("large")) > 50

    def test_a_provider_that_answers_nobody_fails_the_items(
        self, way: Way, catalogue: Catalogue, provider: FakeProvider
    ) -> None:
        catalogue()
        provider.script("fast", Fail(429))
        with pytest.raises(BatchError, match="3 of 3 items") as caught:
            way.step(plain).batch(*items(3))
        assert "429" in str(caught.value)

    def test_what_is_in_the_cache_waits_for_no_seat(
        self,
        way: Way,
        catalogue: Catalogue,
        provider: FakeProvider,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        catalogue()
        monkeypatch.setenv("TIERFLOW_BATCH__CONCURRENCY", "1")
        provider.script("fast", Room(1000))
        step = way.step(plain)
        asked = items(5)
        step.batch(*asked)
        waiting = taken_seat()
        assert step.batch(*asked) == answers(asked)
        hands().admissions.give_up(waiting)
        assert len(provider.calls) == 5

    def test_a_seat_is_not_waited_for_beyond_the_deadline(
        self,
        way: Way,
        catalogue: Catalogue,
        provider: FakeProvider,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        catalogue()
        monkeypatch.setenv("TIERFLOW_BATCH__CONCURRENCY", "1")
        waiting = taken_seat()
        with pytest.raises(BatchError) as caught:
            way.step(plain, deadline_s=0.2).batch("late")
        assert isinstance(caught.value.errors[0], DeadlineExceededError)
        hands().admissions.give_up(waiting)
        assert not provider.calls


def taken_seat() -> Waiting:
    """Take the only seat at the fast tier's deployment."""
    deployment = hands().settings.tiers.fast.deployments[0]
    request = Request("another", ({"role": "user", "content": "?"},))
    return hands().admissions.join(Seated(deployment, request, PATIENCE_S, nothing))


def nothing(_: Seat) -> Generator[Any, Any, Any]:
    yield None


@both_ways
def test_a_step_of_five_items_does_not_wait_behind_one_of_hundreds(
    way: Way,
    catalogue: Catalogue,
    provider: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    catalogue()
    monkeypatch.setenv("TIERFLOW_BATCH__CONCURRENCY", "4")
    provider.script("fast", Room(1000))

    def many(ask: str) -> Prompt:
        return Prompt(ask=ask)

    def few(ask: str) -> Prompt:
        return Prompt(ask=ask)

    def begun() -> None:
        provider.wait_for_calls(10, timeout_s=PATIENCE_S)

    long, short = way.step(many), way.step(few)
    asked = items(200, "many"), items(5, "few")
    if way.is_async:

        async def both() -> tuple[Any, Any]:
            first = asyncio.ensure_future(batch(long, asked[0]))
            await asyncio.to_thread(begun)
            second = await batch(short, asked[1])
            return await first, second

        found = run_async(both)
    else:
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(batch, long, asked[0])
            begun()
            second = batch(short, asked[1])
            found = (first.result(), second)
    assert [*found] == [answers(each) for each in asked]
    said = [ask_of(call.body) for call in provider.calls]
    places = [at for at, ask in enumerate(said) if ask.startswith("few")]
    between = places[-1] - places[0] + 1 - len(places)
    # Two of four places are theirs, so they are answered in three turns.
    assert between <= 3 * 4
    assert provider.max_in_flight("fast") <= 4


def batch(step: Made, asked: list[str]) -> Any:
    task = step.task.batch
    return task.fn(task.items((asked,), {}))


SCRIPT = """
import sys
from tierflow import llm_task

@llm_task(tier="fast")
{kind} ask(item):
    return item

def body():
    return ask.batch.fn(ask.batch.items((list(sys.argv[1]),), {{}}))

{run}
"""


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_after_ctrl_c_nobody_who_waits_is_sent_and_what_ended_is_not_asked_again(
    project: Path,
    catalogue: Catalogue,
    provider: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    catalogue(timeout_s=PATIENCE_S)
    monkeypatch.setenv("TIERFLOW_BATCH__CONCURRENCY", "3")
    run = "import asyncio\nprint(asyncio.run(body()))" if "async" in kind else "print(body())"
    (project / "many.py").write_text(SCRIPT.format(kind=kind, run=run))
    is_first_run, seen = True, list[str]()

    def reply(body: dict[str, Any]) -> Step:
        ask = ask_of(body)
        seen.append(ask)
        # Of what is sent first one is answered, one refused, and one still under way at the end.
        if not is_first_run or ask == "a":
            return Say(ask.upper())
        return Say(ask.upper(), delay_s=3.0) if ask == "b" else Fail(429)

    provider.script("fast", reply)
    command = [sys.executable, str(project / "many.py"), "abcdefgh"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until(lambda: "a" in seen and "b" in seen and len(seen) > 4)
            process.send_signal(signal.SIGINT)
            _, complaint = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
    assert process.returncode == -signal.SIGINT
    assert complaint.rstrip().endswith("KeyboardInterrupt")
    is_first_run = False
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    assert done.stdout == f"{list('ABCDEFGH')}\n"
    assert seen.count("a") == 1


def wait_until(reached: Callable[[], bool]) -> None:
    """Wait for what happens in another process."""
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError(f"It did not come about within {PATIENCE_S} s.")
        time.sleep(0.02)
