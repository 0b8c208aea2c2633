"""A process of its own whose flow calls steps on the task runner that its argument names.

Prints the flow run's id, which its last line says.
"""

import asyncio
import sys
from typing import Any

from prefect import flow
from prefect.context import FlowRunContext
from prefect.futures import wait
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner

from tierflow import Prompt, llm_task


@llm_task(tier="fast")
def asked(text: str) -> Prompt:
    """A step."""
    return Prompt(ask=text)


@llm_task(tier="fast")
async def asked_later(text: str) -> Prompt:
    """An async step."""
    await asyncio.sleep(0)
    return Prompt(ask=text)


def flow_run_id() -> str:
    """The id of the flow run under way."""
    context = FlowRunContext.get()
    return str(context.flow_run.id) if context and context.flow_run else ""


def runner(kind: str) -> Any:
    """The task runner of that name."""
    if kind == "processes":
        return ProcessPoolTaskRunner(max_workers=2)
    if kind == "dask":
        from prefect_dask.task_runners import DaskTaskRunner

        return DaskTaskRunner(
            cluster_kwargs={
                "n_workers": 2,
                "threads_per_worker": 1,
                "processes": True,
                "dashboard_address": None,
            }
        )
    made: Any = ThreadPoolTaskRunner
    return made(max_workers=2)


def fan_out(kind: str) -> str:
    """Run a flow that maps a step over four texts."""

    @flow(name="traced", task_runner=runner(kind))
    def traced() -> str:
        wait(asked.map(["a", "b", "c", "d"]))
        return flow_run_id()

    return str(traced())


async def gathered() -> str:
    """Run an async flow that gathers a step's calls."""

    @flow(name="traced")
    async def traced() -> str:
        await asyncio.gather(*(asked_later(text) for text in "abcd"))
        return flow_run_id()

    return str(await traced())


if __name__ == "__main__":
    chosen = sys.argv[1]
    print(asyncio.run(gathered()) if chosen == "asyncio" else fan_out(chosen))  # noqa: T201
