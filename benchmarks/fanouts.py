"""Fan-outs: one step mapped over many messages, and the same calls without a plan.

Prefect reads its settings on import: import this after the environment is set.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Any

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner

from tierflow import Answer, Prompt, llm_task
from tierflow.request import CachePlan, Request
from tierflow.routing import Ask, LiteLLMClient, resolve
from tierflow.settings import settings
from tierflow.tasks import close_hands


@llm_task(tier="fast", cache=None)
def sort(instructions: str, message: str) -> Prompt:
    """Ask with the instructions as prefix."""
    return Prompt(prefix=instructions, ask=message)


class Fanouts:
    """Carries out fan-outs, `concurrency` calls at a time."""

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency

    def planned(self, tier: str, asks: Sequence[tuple[str, str]]) -> tuple[int, int, int]:
        """Map a step over the asks in a flow. Return input tokens, and of those read, written."""
        step = sort.with_options(tier=tier, name=f"sort at {tier}, {asks[0][0][:40]}")

        @flow(task_runner=ThreadPoolTaskRunner(max_workers=self._concurrency))  # type: ignore[arg-type]
        def fan_out() -> list[Answer[str]]:
            prefixes, messages = zip(*asks, strict=True)
            found: Any = step.answer.map(list(prefixes), list(messages)).result()
            return list(found)

        usages = [answer.usage for answer in fan_out()]
        return (
            sum(usage.input_tokens for usage in usages),
            sum(usage.cache_read_tokens for usage in usages),
            sum(usage.cache_write_tokens for usage in usages),
        )

    def unplanned(
        self, tier: str, asks: Sequence[tuple[str, str]], plan: Mapping[str, Any]
    ) -> None:
        """Make the same calls through the client alone; `plan`: how each is marked, {} for not."""
        named = resolve(settings().tiers, tier, os.environ)
        deployment = named.tier.deployments[0]
        cache = CachePlan(**plan) if plan else None
        client = LiteLLMClient(os.environ)

        async def ask_all() -> None:
            free = asyncio.Semaphore(self._concurrency)

            async def ask(prefix: str, message: str) -> None:
                system, user = (
                    {"role": "system", "content": prefix},
                    {"role": "user", "content": message},
                )
                request = Request("sort", (system, user), 1)
                async with free:
                    await client.ask_async(
                        Ask(deployment, named, request, "answer", 1, None, cache)
                    )

            await asyncio.gather(*(ask(*each) for each in asks))

        asyncio.run(ask_all())

    def close(self) -> None:
        """Close what the steps hold open."""
        close_hands()
