"""Prompts: requests with a prefix of a wanted length, and the planner's answer to them."""

from collections.abc import Mapping
from typing import Any

from tierflow.caching.prefix import (
    Decision,
    Reuse,
    boundaries_of,
    decision_of,
    vendor_of,
)
from tierflow.request import Request
from tierflow.settings import Deployment

SENTENCE = "Sort the message of the customer to the desk that should answer it. "


def text(tokens: int, first: str = "") -> str:
    """A prose text of about so many tokens, at four characters each."""
    return (first + SENTENCE * (tokens * 4 // len(SENTENCE) + 1))[: tokens * 4].strip()


def a_request(
    tokens: int, ask: str = "Where is it?", *, examples: int = 0, first: str = ""
) -> Request:
    """A request whose prefix is a system message of about `tokens` tokens, and examples."""
    shots = [
        message
        for number in range(examples)
        for message in (
            {"role": "user", "content": text(200, f"Case {number}. ")},
            {"role": "assistant", "content": "delivery"},
        )
    ]
    stable = ({"role": "system", "content": text(tokens, first)}, *shots)
    return Request("sort", (*stable, {"role": "user", "content": ask}), len(stable))


def a_decision(
    model: str,
    request: Request,
    *reuses: Reuse,
    environ: Mapping[str, str] | None = None,
    **deployment: Any,
) -> Decision:
    """What is planned for a request at a deployment, given what is expected of each end."""
    named = Deployment(model=model, **deployment)
    vendor = vendor_of(named, environ or {})
    ends = boundaries_of(request, named, vendor)
    expected = reuses or (Reuse(0.0),)
    return decision_of(named, vendor, ends, (expected * len(ends))[: len(ends)])
