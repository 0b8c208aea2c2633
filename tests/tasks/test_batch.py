"""Batch: many items in one task run. Threads, event loop, real sockets, no Prefect engine."""

import asyncio
import pickle
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Catalogue
from tests.fakes import Fail, FakeProvider, Hang, Say
from tests.fakes.steps import Step
from tests.tasks.ways import Step as Made
from tests.tasks.ways import Way, both_ways, plain
from tierflow import Prompt, llm_task
from tierflow.caching.prefix.fanout import current_fanout
from tierflow.errors import AllDeploymentsFailedError, BatchError, ConfigError

ITEMS = [f"item {number}" for number in range(20)]
FOR_EVER = 3600.0
PATIENCE_S = 120.0


def echo(body: dict[str, Any]) -> Step:
    return Say(f"re: {ask_of(body)}", delay_s=0.01)


def ask_of(body: dict[str, Any]) -> str:
    ask: str = body["messages"][-1]["content"]
    return ask


@both_ways
class TestBatch:
    """What a batch returns, and what it asks for."""

    def test_results_come_in_the_order_of_the_items(
        self, way: Way, catalogue: Catalogue, provider: FakeProvider
    ) -> None:
        catalogue()

        def slow_first(body: dict[str, Any]) -> Step:
            return Say(ask_of(body), delay_s=0.2 if ask_of(body) == ITEMS[0] else 0.0)

        provider.script("fast", slow_first)
        assert way.step(plain).batch(*ITEMS) == ITEMS

    def test_so_many_items_are_under_way_as_the_settings_say(
        self,
        way: Way,
        catalogue: Catalogue,
        provider: FakeProvider,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        catalogue()
        monkeypatch.setenv("TIERFLOW_BATCH__CONCURRENCY", "3")
        provider.script("fast", echo)
        assert len(way.step(plain).batch(*ITEMS)) == len(ITEMS)
        assert provider.max_in_flight("fast") == 3

    def test_equal_items_are_asked_once(
        self, way: Way, catalogue: Catalogue, provider: FakeProvider
    ) -> None:
        catalogue()
        provider.script("fast", echo)
        assert way.step(plain).batch(*"abab" * 5) == ["re: a", "re: b"] * 10
        assert len(provider.calls) == 2

    def test_no_items_are_no_calls(
        self, way: Way, catalogue: Catalogue, provider: FakeProvider
    ) -> None:
        catalogue()
        assert way.step(plain).batch() == []
        assert not provider.calls

    def test_each_item_knows_how_many_follow(
        self, way: Way, catalogue: Catalogue, provider: FakeProvider
    ) -> None:
        catalogue()
        provider.script("fast", echo)
        seen: list[int] = []

        def counting(ask: str) -> Prompt:
            fanout = current_fanout()
            assert fanout is not None
            seen.append(fanout.left)
            return Prompt(ask=ask)

        way.step(counting).batch(*ITEMS)
        assert len(seen) == len(ITEMS)
        assert max(seen) == len(ITEMS)


class TestAdmission:
    """The first of two places is busy until all other items have begun in the second."""

    @pytest.fixture(autouse=True)
    def two_places(
        self, catalogue: Catalogue, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        catalogue()
        provider.script("fast", echo)
        monkeypatch.setenv("TIERFLOW_BATCH__CONCURRENCY", "2")

    def test_a_free_thread_takes_the_next_item(self) -> None:
        begun, all_others = list[str](), threading.Event()

        def first_waits(ask: str) -> str:
            if ask == ITEMS[0]:
                assert all_others.wait(PATIENCE_S)
            begun.append(ask)
            if len(begun) == len(ITEMS) - 1:
                all_others.set()
            return ask

        Way(is_async=False).step(first_waits).batch(*ITEMS)
        assert begun[-1] == ITEMS[0]

    def test_a_free_place_on_the_loop_takes_the_next_item(self) -> None:
        begun, all_others = list[str](), asyncio.Event()

        async def first_waits(ask: str) -> str:
            if ask == ITEMS[0]:
                await asyncio.wait_for(all_others.wait(), PATIENCE_S)
            begun.append(ask)
            if len(begun) == len(ITEMS) - 1:
                all_others.set()
            return ask

        Made(llm_task(tier="fast")(first_waits)).batch(*ITEMS)
        assert begun[-1] == ITEMS[0]


@both_ways
class TestFailures:
    """Items without an answer keep none of the others from theirs."""

    def test_the_others_are_answered_and_kept(
        self, way: Way, catalogue: Catalogue, provider: FakeProvider
    ) -> None:
        catalogue()
        broken = {"item 3", "item 7"}

        def some_fail(body: dict[str, Any]) -> Step:
            return Fail(500) if ask_of(body) in broken else echo(body)

        provider.script("fast", some_fail)
        step = way.step(plain)
        with pytest.raises(BatchError, match=r"2 of 20 items .* item 3: AllDeployments") as caught:
            step.batch(*ITEMS)
        error = caught.value
        assert set(error.errors) == {3, 7}
        assert {type(each) for each in error.errors.values()} == {AllDeploymentsFailedError}
        assert [at for at, value in enumerate(error.values) if value is None] == [3, 7]
        assert error.values[4] == "re: item 4"

        broken.clear()
        asked = Counter(ask_of(call.body) for call in provider.calls)
        assert step.batch(*ITEMS) == [f"re: {item}" for item in ITEMS]
        again = Counter(ask_of(call.body) for call in provider.calls) - asked
        assert again == Counter(["item 3", "item 7"])

    def test_a_prompt_function_that_fails_is_such_a_failure(
        self, way: Way, catalogue: Catalogue, provider: FakeProvider
    ) -> None:
        catalogue()
        provider.script("fast", echo)

        def picky(ask: str) -> str:
            if ask == "b":
                raise KeyError(ask)
            return ask

        with pytest.raises(BatchError, match="item 1: KeyError") as caught:
            way.step(picky).batch("a", "b", "c")
        assert isinstance(caught.value.__cause__, KeyError)
        assert caught.value.values == ("re: a", None, "re: c")

    def test_a_wrong_configuration_fails_at_once_and_as_itself(
        self, way: Way, catalogue: Catalogue, provider: FakeProvider
    ) -> None:
        catalogue()
        with pytest.raises(ConfigError, match="No tier 'slow'"):
            way.step(plain, tier="slow").batch(*ITEMS)
        assert not provider.calls


def test_the_error_travels_between_processes_whole() -> None:
    error = BatchError.of(["a", None], {1: KeyError("b")})
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.values) == (str(error), ("a", None))
    assert isinstance(copy.errors[1], KeyError)


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
def test_what_ended_before_a_kill_is_not_asked_again(
    project: Path, catalogue: Catalogue, provider: FakeProvider, kind: str
) -> None:
    catalogue(timeout_s=FOR_EVER)
    run = "import asyncio\nprint(asyncio.run(body()))" if "async" in kind else "print(body())"
    (project / "many.py").write_text(SCRIPT.format(kind=kind, run=run))
    hanging = True

    def reply(body: dict[str, Any]) -> Step:
        return Hang(FOR_EVER) if hanging and ask_of(body) == "c" else Say(ask_of(body).upper())

    provider.script("fast", reply)
    command = [sys.executable, str(project / "many.py"), "abcdef"]
    with subprocess.Popen(command) as process:
        provider.wait_for_calls(6, timeout_s=PATIENCE_S)
        wait_until_answered(project, 5)
        process.send_signal(signal.SIGKILL)
    hanging = False
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    assert done.stdout == "['A', 'B', 'C', 'D', 'E', 'F']\n"
    assert Counter(ask_of(call.body) for call in provider.calls) == Counter("abcdefc")


def wait_until_answered(project: Path, items: int) -> None:
    """Wait for so many rows in the ledger of another process: they are entered last."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with suppress(sqlite3.OperationalError):
            if _rows(project) >= items:
                return
        time.sleep(0.05)
    raise TimeoutError(f"Not {items} rows within {PATIENCE_S} s.")


def _rows(project: Path) -> int:
    ledger = f"file:{project / '.tierflow' / 'ledger.db'}?mode=ro"
    with closing(sqlite3.connect(ledger, uri=True)) as opened:
        return int(opened.execute("SELECT count(*) FROM answers_v4").fetchone()[0])
