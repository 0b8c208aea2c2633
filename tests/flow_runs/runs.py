"""Runs: steps that the tests here share, and what a server and its UI know of a run."""

import asyncio
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import Artifact, State, TaskRun
from pydantic import BaseModel

from tests.conftest import PRICES
from tests.fakes import Say
from tierflow import Cascade, Prompt, llm_task, schema

PATIENCE_S = 120.0
LEAKS = ("unclosed", "Unclosed")
"""Prefect and litellm leave sockets and event loops to the garbage collector."""

ON_A_SERVER = [
    pytest.mark.usefixtures("prefect_server", "leaks_collected"),
    *(pytest.mark.filterwarnings(f"ignore:{leak}:ResourceWarning") for leak in LEAKS),
]
"""Marks of every test here."""


class Verdict(BaseModel):
    good: bool


@llm_task(tier="fast")
def echo(text: str) -> Prompt:
    return Prompt(ask=text)


@llm_task(tier="fast")
async def echo_later(text: str) -> Prompt:
    await asyncio.sleep(0)
    return Prompt(ask=text)


@llm_task(
    tier="fast", returns=Verdict, cascade=Cascade(to="frontier", judge=schema(), max_loss=None)
)
def judged(text: str) -> Prompt:
    return Prompt(ask=text)


def shortly(text: str) -> str:
    return f"short {text}"


@flow
def ask_all(texts: list[str]) -> list[str]:
    return echo.map(texts).result()


def said(call: dict[str, Any]) -> Say:
    return Say(f"re: {call['messages'][-1]['content']}")


def task_runs(flow_run_id: UUID | str, count: int) -> list[TaskRun]:
    """The ended task runs of a flow run, once the server has taken them in."""
    only = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(str(flow_run_id))]))

    async def ended() -> list[TaskRun]:
        async with asyncio.timeout(PATIENCE_S), get_client() as client:
            while True:
                runs = await client.read_task_runs(flow_run_filter=only)
                if sum(bool(run.state and run.state.is_final()) for run in runs) >= count:
                    return runs
                await asyncio.sleep(0.2)

    return asyncio.run(ended())


def cost_tables(flow_run_id: UUID | str) -> list[tuple[str, list[dict[str, Any]]]]:
    """Headline and rows of each cost table of a flow run."""
    tables = artifacts(flow_run_id, "table")
    return [(str(each.description), json.loads(str(each.data))) for each in tables]


def artifacts(flow_run_id: UUID | str, kind: str) -> list[Artifact]:
    """A flow run's artifacts of one type. A failed one has some of Prefect's own: its exception."""
    only = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(str(flow_run_id))]))
    with get_client(sync_client=True) as client:
        return [each for each in client.read_artifacts(artifact_filter=only) if each.type == kind]


def run_flow(body: Callable[[], Any]) -> State[Any]:
    """Run a function as a flow to its end, good or bad."""
    running: Any = flow(name="Held to contract")(body)
    state: State[Any] = running(return_state=True)
    return state


def run_id(state: State[Any]) -> UUID:
    assert state.state_details.flow_run_id is not None
    return state.state_details.flow_run_id


def usd(input_tokens: int, output_tokens: int) -> float:
    prices = PRICES["input_usd_per_mtok"], PRICES["output_usd_per_mtok"]
    return (input_tokens * prices[0] + output_tokens * prices[1]) / 1e6
