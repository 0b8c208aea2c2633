"""Contenders: the ways to get one answer that are timed against each other.

Prefect reads its settings on import: import this after the environment is set. All ask the same
model, with the same prefix and options and a different ask every time, and none retries.
"""

import os
from collections.abc import Awaitable, Callable
from typing import Any

import litellm
from openai import AsyncOpenAI
from prefect import task
from prefect.cache_policies import NO_CACHE

from tierflow import Prompt, llm_task

MODEL = "gpt-4o-mini"
PREFIX = (
    "You sort customers' messages for the support desk of a web shop. Read the message and name "
    "the desk that should answer it: refunds, delivery, account or other. A message that asks for "
    "money back goes to refunds, even if the parcel is late. Answer with the one word."
)
_TIMEOUT_S = 30.0
_OPTIONS: dict[str, Any] = {"temperature": 0, "timeout": _TIMEOUT_S}

Contender = Callable[[int], Awaitable[object]]
"""Makes one call. Its number has not been used before."""


@task(cache_policy=NO_CACHE)
async def bare(ask: str) -> str:
    """Do nothing, as a Prefect task."""
    return ask


@llm_task(tier="fast")
async def sort(ask: str) -> Prompt:
    """Ask the fast tier."""
    return Prompt(prefix=PREFIX, ask=ask)


def contenders(base_url: str) -> dict[str, Contender]:
    """Return the contenders by name. `base_url`: the provider's API base."""
    vendor: Any = litellm
    litellm_model = {"model": f"openai/{MODEL}", "api_base": base_url, "api_key": "none"}
    router = vendor.Router(
        [{"model_name": MODEL, "litellm_params": litellm_model | {"max_retries": 0}}],
        num_retries=0,
    )
    client = AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0)
    complete: Any = client.chat.completions.create

    return {
        "prefect_task": lambda number: bare(_ask(number)),
        "exact_hit": lambda _: sort(_ask(0)),
        "miss": lambda number: sort(_ask(number)),
        "litellm": lambda number: vendor.acompletion(
            **litellm_model, messages=_messages(number), num_retries=0, max_retries=0, **_OPTIONS
        ),
        "router": lambda number: router.acompletion(
            model=MODEL, messages=_messages(number), **_OPTIONS
        ),
        "openai": lambda number: complete(model=MODEL, messages=_messages(number), **_OPTIONS),
    }


def catalogue(base_url: str) -> str:
    """Return a tierflow.toml whose tiers all are the provider's model."""
    deployment = f'{{ model = "openai/{MODEL}", api_base = "{base_url}" }}'
    return "\n".join(
        f"[tiers.{tier}]\ndeployments = [{deployment}]\ntimeout_s = {_TIMEOUT_S}"
        for tier in ("fast", "standard", "frontier")
    )


def _ask(number: int) -> str:
    return f"Message {number} of {os.getpid()}: my parcel has not come, and I want my money back."


def _messages(number: int) -> list[dict[str, str]]:
    return [
        {"role": "system", "content": PREFIX},
        {"role": "user", "content": _ask(number)},
    ]
