"""Pins on a real server: a root flow run keeps its arm, and all below it has the same one."""

from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from tests.fakes import FakeProvider
from tests.rollouts.started import begun_at, shown
from tierflow import Variant, llm_task
from tierflow.rollouts import arm_of
from tierflow.rollouts.pins import LABEL

from .runs import ON_A_SERVER, run_flow, run_id

pytestmark = ON_A_SERVER

NAME = "halves"


def step() -> Any:
    rollout = begun_at(0.5, NAME, Variant(tier="standard"))

    @llm_task(tier="fast", rollout=rollout, cache=None)
    def ask(text: str) -> str:
        return text

    return ask


def labels(of: Any) -> dict[str, Any]:
    with get_client(sync_client=True) as client:
        return dict(client.read_flow_run(of).labels)


@pytest.mark.usefixtures("echoing")
def test_a_subflow_has_the_arm_of_its_root_whatever_its_own_would_be() -> None:
    ask = step()

    @flow
    def below() -> tuple[str, str]:
        return str(flow_run.id), ask.answer("b").arm

    for _ in range(4):
        state = run_flow(lambda: (ask.answer("a").arm, below()))
        arm, (_, arm_below) = state.result()
        root = run_id(state)
        assert arm == arm_below == f"{NAME}/{arm_of(NAME, str(root), 0.5)}"
        assert labels(root)[f"{LABEL}{NAME}"].endswith(":0.5")
        assert str(root) in {each.unit for each in shown(NAME).observations}


@pytest.mark.usefixtures("echoing")
def test_a_run_keeps_its_arm_when_the_weight_changes_and_loses_it_to_a_roll_back() -> None:
    ask = step()

    def body() -> list[str]:
        arms = [ask.answer("a").arm]
        begun_at(1.0, NAME, Variant(tier="standard"))
        return [*arms, ask.answer("b").arm]

    before, after = run_flow(body).result()
    assert before == after


@pytest.mark.usefixtures("echoing")
def test_a_retry_of_the_flow_finds_what_it_was_told(echoing: FakeProvider) -> None:
    del echoing
    ask, arms = step(), list[str]()

    @flow(retries=1)
    def fails_once() -> None:
        arms.append(ask.answer("a").arm)
        begun_at(1.0 if len(arms) == 1 else 0.5, NAME, Variant(tier="standard"))
        if len(arms) == 1:
            raise ValueError("the first time")

    fails_once()
    assert len(arms) == 2
    assert arms[0] == arms[1]
