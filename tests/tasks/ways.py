"""Ways: one step as a sync and as an async function, so that one test tries both.

Steps run here without Prefect's engine, outside of any flow.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from openai import AsyncOpenAI

from tierflow import Answer, llm_task
from tierflow.routing.lasting import on_lasting_loop
from tierflow.routing.vendor import litellm
from tierflow.tasks import close_hands, hands
from tierflow.tasks.body import rendering
from tierflow.tasks.drive import drive, drive_async
from tierflow.tasks.plan import step_plan
from tierflow.tasks.spec import Surroundings

T = TypeVar("T")


@dataclass(frozen=True)
class Step:
    """A step, and how to run it outside of any flow: without Prefect's engine."""

    # An LLMTask. Typed as such it would be read as a method: Prefect's tasks are descriptors.
    task: Any

    def __call__(self, *args: Any) -> Answer[Any]:
        """Run the step to its whole Answer."""
        answer: Answer[Any] = self._run(self.task.answer.fn, *args)
        return answer

    def within(self, change: Callable[[Surroundings], Surroundings], *args: Any) -> Answer[Any]:
        """Run the step in other surroundings, such as on another day."""
        mine = hands()
        plan = step_plan(self.task.spec, change(mine.surroundings(None, None)))
        render = rendering(self.task.prompt, args, {})
        if self.task.isasync:
            return run_async(lambda: drive_async(plan, mine, render))
        return drive(plan, mine, render)

    def value(self, *args: Any) -> Any:
        """Run the step to its value."""
        return self._run(self.task.fn, *args)

    def batch(self, *asks: Any) -> list[Any]:
        """Run the step for many asks as one task would."""
        task = self.task.batch
        values: list[Any] = self._run(task.fn, task.items((asks,), {}))
        return values

    def _run(self, function: Callable[..., Any], *args: Any) -> Any:
        if self.task.isasync:
            return run_async(lambda: function(*args))
        return function(*args)


@dataclass(frozen=True)
class Way:
    """Makes steps of prompt functions. `is_async`: which kind of function they become."""

    is_async: bool

    def step(self, prompt: Callable[..., Any], *, tier: str = "fast", **options: Any) -> Step:
        """Return `prompt` as a step of its own name."""
        function = _awaitable(prompt) if self.is_async else prompt
        return Step(llm_task(tier=tier, **options)(function))


def _awaitable(prompt: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(prompt)
    async def prompt_async(*args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        return prompt(*args, **kwargs)

    return prompt_async


both_ways = pytest.mark.parametrize("way", [Way(False), Way(True)], ids=["sync", "async"])


def run_async(function: Callable[[], Awaitable[T]]) -> T:
    """Run a coroutine function on an event loop of its own, and leave nothing open."""

    async def run() -> T:
        try:
            return await function()
        finally:
            await on_lasting_loop(close_async_clients())

    return asyncio.run(run())


async def close_async_clients() -> None:
    """Close the clients that litellm keeps for reuse: it closes none itself."""
    clients: Any = litellm().in_memory_llm_clients_cache
    for key, client in tuple(clients.cache_dict.items()):
        if isinstance(client, AsyncOpenAI):
            clients.delete_cache(key)
            await client.close()


def plain(ask: str) -> str:
    """A prompt that is its ask."""
    return ask


def settled() -> None:
    """Wait for what is done in the background, as the end of the process would."""
    close_hands()
