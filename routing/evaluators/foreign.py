"""Foreign: other libraries' evaluators that ask models, and how they ask a tier of ours instead."""

import json
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from ...errors import UnparseableReplyError
from ...request import Message, Request
from ..asking import Question, ask_tier
from .evaluator import Answered


def asked_of_tier(
    answered: Answered[Any],
    tier: str,
    messages: Sequence[Message],
    schema: Mapping[str, Any] | None,
) -> Generator[Any, Any, str]:
    """Ask a tier in an evaluator's name; return its reply: JSON where there is a schema.

    Raises what `ask_tier` raises.
    """
    request = Request(
        step=answered.request.step,
        messages=tuple(messages),
        schema=None if schema is None else _closed(schema),
        tenant=answered.request.tenant,
    )
    read = str if schema is None else _object_in
    question = Question(request, read, answered.trail, role="judge")
    return (yield from ask_tier(question, answered.helpers[tier])).value


def _closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    # The strict form of structured output, of the flat objects that evaluators ask for.
    fields = list(schema.get("properties", {}))
    return {**schema, "additionalProperties": False, "required": fields}


def _object_in(text: str) -> str:
    start, end = text.find("{"), text.rfind("}")
    found = text[start : end + 1]
    try:
        json.loads(found)
    except ValueError as exc:
        raise UnparseableReplyError("The judge's reply is no JSON object.", text=text) from exc
    return found
