"""The decorator: what a step is, what `with_options` changes, and how a step travels to workers."""

import inspect
from collections.abc import Callable
from dataclasses import fields
from importlib import import_module
from typing import Any, Literal

import pytest
from prefect import Task
from pydantic import BaseModel

from tests.conftest import Catalogue
from tests.fakes import FakeProvider, Say
from tests.tasks.ways import Step, Way, both_ways, plain
from tierflow import (
    Answer,
    Cascade,
    ExactCache,
    LLMTask,
    Prompt,
    Rollout,
    Route,
    Sampling,
    Variant,
    agreement,
    checked,
    confidence,
    llm_task,
    safety,
)
from tierflow.tasks import StepSpec

pytestmark = both_ways
cloudpickle: Any = import_module("cloudpickle")  # it ships no types


class Triage(BaseModel):
    intent: Literal["refund", "other"]


def triage(ticket: str, *, language: str = "English") -> Prompt:
    """Sort a ticket."""
    return Prompt(prefix=f"Sort. Answer in {language}.", ask=ticket)


def ignore(_chunk: object) -> None:
    """A callback that a worker can be sent."""


OURS: dict[str, Any] = {
    "tier": "standard",
    "cascade": Cascade("frontier", confidence(), max_loss=None),
    "cache": None,
    "sampling": Sampling(temperature=0, max_tokens=9),
    "rollout": Rollout("new", Variant(tier="frontier")),
    "on_chunk": ignore,
    "deadline_s": 30.0,
    "budget_usd": 0.5,
    "reason": "replies go to customers unread",
    "evaluate": (safety(), checked("ok", bool)),
}


# --- what a step is


def test_a_step_is_a_task_that_keeps_the_functions_name_and_words(way: Way) -> None:
    task = way.step(triage).task
    assert isinstance(task, LLMTask)
    assert isinstance(task, Task)
    assert (task.name, task.__doc__, task.isasync) == ("triage", triage.__doc__, way.is_async)
    assert list(inspect.signature(task.fn).parameters) == ["ticket", "language"]
    assert inspect.iscoroutinefunction(task.fn) == way.is_async
    assert task.spec.name == "triage"


def test_the_answer_task_is_the_same_step(way: Way) -> None:
    task = way.step(triage, retries=2, tags=["inbox"]).task
    whole = task.answer
    assert isinstance(whole, Task)
    assert (whole.name, whole.task_key) == (task.name, task.task_key)
    assert (whole.retries, whole.tags) == (2, {"inbox"})
    assert whole.isasync == way.is_async


def test_a_step_is_a_value_and_its_answer_is_the_whole(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    provider.script("fast", Say({"intent": "refund"}))
    step = way.step(triage, returns=Triage)
    assert step.value("Money!") == Triage(intent="refund")
    answer = step("Money!")
    assert isinstance(answer, Answer)
    assert answer.value == Triage(intent="refund")


def test_every_option_of_a_step_reaches_its_spec(way: Way) -> None:
    spec = way.step(triage, **OURS).task.spec
    assert {name: getattr(spec, name) for name in OURS} == OURS
    # A new option belongs into OURS. Tags and code are the task's.
    known = {*OURS, "route", "name", "returns", "tags", "prompted_by"}
    assert {field.name for field in fields(StepSpec)} == known


def test_a_route_reaches_it_too(way: Way) -> None:
    route = Route("frontier", budget_usd=0.01)
    assert way.step(triage, route=route).task.spec.route == route
    changed = way.step(triage).task.with_options(route=route)
    assert (changed.spec.route, changed.spec.stronger) == (route, ("frontier",))


def test_the_exact_cache_is_on_and_prefects_own_is_off_unless_asked_for(way: Way) -> None:
    from prefect.cache_policies import INPUTS, NO_CACHE

    task = way.step(triage).task
    assert task.spec.cache == ExactCache()
    assert task.cache_policy == NO_CACHE
    assert INPUTS in way.step(triage, cache_policy=INPUTS).task.cache_policy.policies


def test_an_option_that_nobody_knows_is_refused_at_once(way: Way) -> None:
    with pytest.raises(TypeError, match="cahce"):
        way.step(triage, cahce=None)


def test_the_decorator_takes_options_by_name_only(way: Way) -> None:
    del way
    with pytest.raises(TypeError):
        llm_task("fast")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]  # the fault under test


# --- with_options


@pytest.mark.parametrize("name", OURS)
def test_with_options_changes_one_of_ours_and_leaves_the_rest(way: Way, name: str) -> None:
    task = way.step(triage, returns=Triage).task
    changed = task.with_options(**{name: OURS[name]})
    assert type(changed) is type(task)
    assert getattr(changed.spec, name) == OURS[name]
    for other in {field.name for field in fields(StepSpec)} - {name}:
        assert getattr(changed.spec, other) == getattr(task.spec, other)
    assert getattr(task.spec, name) != OURS[name]


def test_with_options_keeps_class_task_key_and_answer(way: Way) -> None:
    task = way.step(triage, returns=Triage, retries=1).task
    changed = task.with_options(retries=5, tags=["late"])
    assert type(changed) is type(task)
    assert (changed.retries, changed.tags, changed.task_key) == (5, {"late"}, task.task_key)
    assert (task.retries, task.tags) == (1, set())
    assert (changed.answer.retries, changed.answer.tags) == (5, {"late"})
    assert type(changed.with_options(retries=0)) is type(task)


def test_with_options_asks_the_other_tier(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    provider.script("standard", Say("from standard"))
    changed = Step(way.step(plain).task.with_options(tier="standard"))
    assert changed.value("?") == "from standard"
    assert changed("?").cache == "exact"
    assert [call.model for call in provider.calls] == ["standard"]


def test_with_options_and_another_name_is_another_step(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    provider.script("fast", Say("x"))
    step = way.step(plain)
    renamed = Step(step.task.with_options(name="renamed"))
    assert [step("?").step, renamed("?").step] == ["plain", "renamed"]
    assert len(provider.calls) == 2


# --- to workers and back


def round_trip(task: Any) -> Any:
    return cloudpickle.loads(cloudpickle.dumps(task))


@pytest.mark.parametrize("used", [False, True], ids=["new", "used before"])
def test_a_step_travels_by_cloudpickle(
    way: Way, catalogue: Catalogue, provider: FakeProvider, used: bool
) -> None:
    catalogue()
    provider.script("fast", Say({"intent": "other"}))
    step = way.step(triage, returns=Triage, sampling=Sampling(temperature=0), retries=3)
    if used:
        step("Before.")
    again = Step(round_trip(step.task))
    assert type(again.task) is type(step.task)
    assert (again.task.retries, again.task.task_key) == (3, step.task.task_key)
    assert again("Hello.").value == Triage(intent="other")
    assert again("Hello.").cache == "exact"
    # It is the same question in every process.
    assert step("Hello.").cache == "exact"


def as_it_is(task: Any) -> Any:
    return task


def with_options(task: Any) -> Any:
    return task.with_options(tier="standard", retries=1)


def its_answer(task: Any) -> Any:
    return task.answer


@pytest.mark.parametrize("change", [as_it_is, with_options, its_answer])
def test_a_step_of_a_local_function_travels_too(
    way: Way, catalogue: Catalogue, provider: FakeProvider, change: Callable[[Any], Any]
) -> None:
    catalogue()
    for model in ("fast", "standard"):
        provider.script(model, Say({"value": 7}))
    greeting = "How many"

    def count(what: str) -> str:
        return f"{greeting} {what}?"

    cascade = Cascade("frontier", agreement(by=lambda value: value), max_loss=None)
    task = change(way.step(count, returns=int, cascade=cascade).task)
    again = round_trip(task)
    assert type(again) is type(task)
    found = Step(again).value("hens")
    assert getattr(found, "value", found) == 7
    assert provider.calls[0].body["messages"][-1]["content"] == "How many hens?"
