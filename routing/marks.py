"""Marks: a cache plan in a provider's own words. Decides nothing; says only what it is told."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from ..request import CachePlan, Message


def marked(messages: Sequence[Message], plan: CachePlan | None) -> list[dict[str, Any]]:
    """Return the messages as they are sent, with the plan's marks behind its prefixes."""
    sent = [dict(message) for message in messages]
    if plan is not None:
        for count in plan.marks:
            sent[count - 1] = _with_mark(sent[count - 1], _mark(plan))
    return sent


def cache_options(plan: CachePlan | None) -> dict[str, Any]:
    """Return the options of the chat request that go with the plan."""
    options: dict[str, Any] = {}
    if plan is not None and plan.dialect == "openai":
        # Else OpenAI writes all of the prompt, and charges for it.
        options["prompt_cache_options"] = {"mode": "explicit"}
    if plan is not None and plan.cache_key:
        options["prompt_cache_key"] = plan.cache_key
    return options


def _mark(plan: CachePlan) -> dict[str, Any]:
    match plan.dialect:
        case "anthropic":
            hourly = {"ttl": "1h"} if plan.ttl == "1h" else {}
            return {"cache_control": {"type": "ephemeral", **hourly}}
        case "openai":
            return {"prompt_cache_breakpoint": {"mode": "explicit"}}
        case _:
            return {}


def _with_mark(message: Mapping[str, Any], mark: Mapping[str, Any]) -> dict[str, Any]:
    content: object = message.get("content")
    if isinstance(content, str):
        return {**message, "content": [{"type": "text", "text": content, **mark}]}
    if isinstance(content, list) and content:
        *before, last = cast("list[dict[str, Any]]", content)
        return {**message, "content": [*before, {**last, **mark}]}
    return dict(message)
