"""Ordering: equal prefixes run together, the next one is begun ahead, and results stay in order."""

import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect import flow, task, unmapped

from tests.fakes import FakeEngine
from tests.tasks.pooled import a_pool, asked, urls
from tests.tasks.ways import Way
from tierflow import Prompt, llm_task
from tierflow.errors import BatchError
from tierflow.tasks.ordering import fan_out_order, prefix_of

PATIENCE_S = 60.0
PREFIXES = st.lists(st.lists(st.sampled_from("abc"), max_size=3), max_size=24)


@given(PREFIXES)
def test_every_item_has_its_turn_once(prefixes: list[list[str]]) -> None:
    assert sorted(fan_out_order(prefixes)) == list(range(len(prefixes)))


def test_equal_prefixes_run_together_and_the_next_is_begun_ahead() -> None:
    order = fan_out_order([each.split() for each in ["a", "b", "a", "c", "b", "a", "c"]])

    assert order == [0, 1, 2, 5, 3, 4, 6]


def test_those_that_share_more_stand_nearer_to_each_other() -> None:
    prefixes = [each.split() for each in ["s x", "t", "s y", "s x", "s", "s y"]]

    order = fan_out_order(prefixes)

    assert order == [4, 0, 2, 3, 1, 5]


def test_items_without_a_prefix_stay_in_their_order() -> None:
    assert fan_out_order([[], [], []]) == [0, 1, 2]


def test_a_prefix_is_what_stays_the_same() -> None:
    one, other = (prefix_of(Prompt(prefix="rules", ask=ask)) for ask in "xy")

    assert one == other
    assert len(one) == 1
    assert prefix_of("a plain ask") == ()
    assert prefix_of(object()) == ()


@pytest.fixture
def pooled(project: Path, engines: list[FakeEngine]) -> list[FakeEngine]:
    """One replica, so that the order in which it is asked is all there is."""
    a_pool(project, urls(engines[:1]), tail="[batch]\nconcurrency = 1")
    return engines[:1]


def asks(engines: list[FakeEngine]) -> list[str]:
    """What was asked, in order."""
    return [
        f"{call.body['messages'][0]['content'].split()[2][0]}:{call.body['messages'][1]['content']}"
        for call in engines[0].all_calls
    ]


def test_a_batch_runs_equal_prefixes_together_and_returns_in_the_order_given(
    pooled: list[FakeEngine],
) -> None:
    items = ["a:1", "b:1", "c:1", "a:2", "b:2", "c:2"]
    written: list[str] = []

    def noting(ask: str) -> Prompt:
        written.append(ask)
        return asked(ask)

    step = Way(is_async=False).step(noting, cache=None)
    values = step.batch(*items)

    assert asks(pooled) == ["a:1", "b:1", "a:2", "c:1", "b:2", "c:2"]
    assert sorted(written) == sorted(items)
    assert values == ["from a"] * len(items)


def test_an_item_whose_prompt_fails_fails_alone_and_in_its_place(
    pooled: list[FakeEngine],
) -> None:
    del pooled
    written: list[str] = []

    def failing(ask: str) -> Prompt:
        written.append(ask)
        if ask == "b:1":
            raise ValueError("no such tenant")
        return asked(ask)

    step = Way(is_async=False).step(failing, cache=None)

    with pytest.raises(BatchError) as caught:
        step.batch("a:1", "b:1", "a:2")

    assert list(caught.value.errors) == [1]
    assert str(caught.value.errors[1]) == "no such tenant"
    assert caught.value.values == ("from a", None, "from a")
    assert sorted(written) == ["a:1", "a:2", "b:1"]


@pytest.mark.usefixtures("prefect_server")
def test_a_map_runs_equal_prefixes_together_and_returns_in_the_order_given(
    pooled: list[FakeEngine],
) -> None:
    lock = threading.Lock()
    seen: list[str] = []

    @llm_task(tier="fast", cache=None)
    def step(ask: str, suffix: str) -> Prompt:
        with lock:
            seen.append(ask)
        return asked(ask + suffix)

    @flow
    def run() -> list[Any]:
        futures = step.map(["a:1", "b:1", "c:1", "a:2", "b:2", "c:2"], unmapped("!"))
        parameters = [each.task_run_id for each in futures]
        assert len(set(parameters)) == 6
        return [each.result() for each in futures]

    assert run() == ["from a"] * 6
    assert sorted(asks(pooled)) == sorted(f"{each}!" for each in set(seen))


@pytest.mark.usefixtures("prefect_server")
def test_no_prompt_of_a_map_is_written_before_what_the_map_waits_for(
    pooled: list[FakeEngine],
) -> None:
    is_mapped, tenants, missed = threading.Event(), list[str](), list[int]()

    @task
    def fill() -> None:
        assert is_mapped.wait(PATIENCE_S)
        tenants.append("a")

    @llm_task(tier="fast", cache=None)
    def step(number: int) -> Prompt:
        if not tenants:
            missed.append(number)
        return asked(f"{''.join(tenants)}:{number}")

    @flow
    def run() -> list[Any]:
        filling: Any = fill
        futures = step.map([1, 2, 3], wait_for=[filling.submit()])
        is_mapped.set()
        return [each.result() for each in futures]

    assert run() == ["from a"] * 3
    assert not missed
    assert sorted(asks(pooled)) == ["a:1", "a:2", "a:3"]
