"""Drivers and hands: effects are carried out, failures go back into the plan, handles reopen."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from tests.caching.answers import entry_of, key_of
from tierflow.caching import Find, Keep, Once, Shared
from tierflow.routing import Pause
from tierflow.settings import settings
from tierflow.tasks import close_hands, hands
from tierflow.tasks.drive import drive, drive_async
from tierflow.tasks.spec import Render
from tierflow.tracing import Within

Plan = Generator[Any, Any, Any]
Run = Callable[[Plan], Any]
KEY = key_of("one")


def prompt() -> str:
    """The step's own prompt function."""
    return "own"


async def prompt_async() -> str:
    """The step's own prompt function, awaited."""
    await asyncio.sleep(0)
    return "own"


def other() -> str:
    """An arm's prompt function, never async."""
    return "other"


def run_sync(plan: Plan) -> Any:
    return drive(plan, hands(), lambda given: (given or prompt)())


def run_async(plan: Plan) -> Any:
    return asyncio.run(drive_async(plan, hands(), lambda given: (given or prompt_async)()))


both_drivers = pytest.mark.parametrize("run", [run_sync, run_async], ids=["sync", "async"])
pytestmark = pytest.mark.usefixtures("project")


@both_drivers
def test_a_driver_sends_back_what_an_effect_gives(run: Run) -> None:
    def plan() -> Plan:
        assert (yield Find(KEY)) is None
        assert (yield Keep(KEY, entry_of(1))) is None
        found = yield Find(KEY)
        own, others = (yield Render(None)), (yield Render(other))
        yield Pause(0.0)
        return found, own, others

    assert run(plan()) == (entry_of(1), "own", "other")


@both_drivers
def test_a_plan_without_effects_ends_at_once(run: Run) -> None:
    def plan() -> Plan:
        yield from ()
        return "done"

    assert run(plan()) == "done"


@both_drivers
def test_plans_within_plans_give_their_results(run: Run) -> None:
    def inner() -> Plan:
        return (yield Render(other))

    def plan() -> Plan:
        once = yield Once(KEY, inner())
        within = yield Within("inner", {}, inner(), lambda result: {"result": result})
        return once, within

    assert run(plan()) == (Shared("other", led=True), "other")


@both_drivers
def test_a_failed_effect_is_raised_inside_the_plan_which_may_go_on(run: Run) -> None:
    fault = ValueError("no prompt today")

    def failing() -> str:
        raise fault

    def plan() -> Plan:
        try:
            yield Render(failing)
        except ValueError as error:
            return error, (yield Render(other))

    assert run(plan()) == (fault, "other")


@both_drivers
def test_a_failure_of_an_inner_plan_reaches_the_outer_one(run: Run) -> None:
    def inner() -> Plan:
        yield Render(other)
        raise ValueError("inside")

    def plan() -> Plan:
        caught: list[str] = []
        for effect in (Once(KEY, inner()), Within("inner", {}, inner(), lambda _: {})):
            try:
                yield effect
            except ValueError as error:
                caught.append(str(error))
        return caught

    assert run(plan()) == ["inside", "inside"]


@both_drivers
def test_what_a_plan_raises_comes_out(run: Run) -> None:
    def plan() -> Plan:
        yield Render(other)
        raise ValueError("at the end")

    with pytest.raises(ValueError, match="at the end"):
        run(plan())


@both_drivers
def test_an_effect_that_no_driver_knows_is_named(run: Run) -> None:
    def plan() -> Plan:
        yield "nonsense"

    with pytest.raises(TypeError, match="No driver knows the effect 'nonsense'"):
        run(plan())


def test_hands_are_the_same_until_the_settings_change(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = hands()
    assert hands() is first
    monkeypatch.setenv("TIERFLOW_HOME", "elsewhere")
    second = hands()
    assert second is not first
    assert (first.settings.home, second.settings.home) == (
        project / ".tierflow",
        project / "elsewhere",
    )
    monkeypatch.delenv("TIERFLOW_HOME")
    assert hands() is first


def test_closed_hands_open_again() -> None:
    first = hands()
    first.perform(Keep(KEY, entry_of(1)))
    close_hands()
    close_hands()
    second = hands()
    assert second is not first
    assert second.perform(Find(KEY)) == entry_of(1)
    # Someone may still hold the old ones.
    assert first.perform(Find(KEY)) == entry_of(1)
    first.close()


def test_making_hands_opens_nothing(project: Path) -> None:
    hands()
    assert not list(project.iterdir())


FORK = """
import os
from tierflow.tasks import hands

mine = hands()
if not os.fork():
    print("own" if hands() is not mine else "the parent's", flush=True)
    os._exit(0)
os.wait()
"""


def test_a_forked_child_opens_hands_of_its_own() -> None:
    # In a process of its own: a fork here would copy the threads' locks.
    done = subprocess.run(
        [sys.executable, "-c", FORK], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "own\n"


def test_surroundings_know_the_settings_and_the_time_in_utc() -> None:
    around = hands().surroundings(("run-1", "inbox"), "task-1")
    assert around.settings is settings()
    assert around.where.at.endswith("+00:00")
    assert (around.where.flow_run_id, around.where.flow, around.where.task_run_id) == (
        "run-1",
        "inbox",
        "task-1",
    )
    assert hands().surroundings(None, None).where.flow_run_id is None
