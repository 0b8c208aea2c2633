"""Two processes that ask the same at the same time: one asks, and the other waits for it."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Catalogue
from tests.fakes import Fail, FakeProvider, Hang, Say, Step
from tests.tasks.asker import Asker
from tests.tasks.conftest import Rows
from tests.tasks.ways import Way, both_ways, plain
from tierflow.errors import AllDeploymentsFailedError

PATIENCE_S = 60.0


@pytest.fixture(scope="session")
def asker_async() -> Iterator[Asker]:
    """Another process that runs steps on an event loop."""
    asker = Asker("async")
    yield asker
    asker.close()


class Gate:
    """Holds back the provider's first reply until it opens."""

    def __init__(self, *replies: Step) -> None:
        self._replies = iter(replies)
        self._opened = threading.Event()

    def __call__(self, _body: dict[str, Any]) -> Step:
        reply = next(self._replies)
        assert self._opened.wait(PATIENCE_S)
        return reply

    def open(self) -> None:
        """Let all replies through from now on."""
        self._opened.set()


def test_two_processes_with_the_same_question_ask_once(
    *,
    asker: Asker,
    asker_async: Asker,
    project: Path,
    catalogue: Catalogue,
    provider: FakeProvider,
    rows: Rows,
) -> None:
    catalogue(timeout_s=PATIENCE_S)
    gate = Gate(Say("one reply", input_tokens=100))
    provider.script("fast", gate)
    asker.go_to(project)
    asker_async.go_to(project)
    asker.begin("plain", "?")
    provider.wait_for_calls(1, timeout_s=PATIENCE_S)
    asker_async.begin("plain", "?")
    asker_async.wait_until_refused()
    gate.open()
    led, followed = asker.answer(), asker_async.answer()
    assert (led.value, led.cache) == (followed.value, "miss") == ("one reply", "miss")
    assert (followed.cache, followed.cost_usd) == ("exact", 0.0)
    assert len(provider.calls) == 1
    assert sorted(row["cache"] for row in rows()) == ["exact", "miss"]


@pytest.mark.parametrize(
    "fault", [Fail(500), Say("cut off", finish_reason="length")], ids=["failed", "cut off"]
)
def test_who_waited_asks_when_the_other_keeps_nothing(
    asker: Asker, project: Path, catalogue: Catalogue, provider: FakeProvider, fault: Step
) -> None:
    catalogue(timeout_s=PATIENCE_S)
    asker.go_to(project)
    gate = Gate(fault, Say("fine"))
    provider.script("fast", gate)
    mine = Way(is_async=False).step(plain)

    def lead() -> None:
        with suppress(AllDeploymentsFailedError):
            mine("?")

    leading = threading.Thread(target=lead)
    leading.start()
    provider.wait_for_calls(1, timeout_s=PATIENCE_S)
    asker.begin("plain", "?")
    asker.wait_until_refused()
    gate.open()
    answer = asker.answer()
    leading.join(PATIENCE_S)
    assert (answer.value, answer.cache) == ("fine", "miss")
    assert len(provider.calls) == 2


@both_ways
def test_a_leader_that_is_killed_holds_up_the_others_no_longer_than_its_lease(
    way: Way, project: Path, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue(timeout_s=PATIENCE_S)
    provider.script("fast", [Hang(3600), Say("for who waited")])
    doomed = Asker("async" if way.is_async else "sync")
    try:
        doomed.go_to(project, lease_s=1.0)
        doomed.begin("plain", "?")
        provider.wait_for_calls(1, timeout_s=PATIENCE_S)
        answers: list[Any] = []
        waiting = threading.Thread(target=lambda: answers.append(way.step(plain)("?")))
        waiting.start()
    finally:
        doomed.kill()
    waiting.join(PATIENCE_S)
    (answer,) = answers
    assert (answer.value, answer.cache) == ("for who waited", "miss")
