"""Lengths: how long a step's replies usually are, and its tokens. Learned from replies; pure."""

import threading
from dataclasses import dataclass

from ...request import Request, Usage

_WEIGHT = 0.1
"""Of the newest reply, against all before it."""


@dataclass(frozen=True, slots=True)
class _Usual:
    per_token: float
    output_tokens: float


class Lengths:
    """What is usual of each step and kind of prompt. Thread-safe."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], _Usual] = {}
        self._lock = threading.Lock()

    def replied(self, request: Request, usage: Usage) -> None:
        """Learn from a reply; guessed tokens teach nothing."""
        if usage.estimated or not usage.input_tokens:
            return
        per_token = _characters(request) / usage.input_tokens
        with self._lock:
            known = self._known.get(_of(request))
            if known is None:
                self._known[_of(request)] = _Usual(per_token, usage.output_tokens)
                return
            self._known[_of(request)] = _Usual(
                known.per_token + _WEIGHT * (per_token - known.per_token),
                known.output_tokens + _WEIGHT * (usage.output_tokens - known.output_tokens),
            )

    def expected(self, request: Request) -> Usage | None:
        """Return the tokens that a request likely takes; None before the first reply."""
        with self._lock:
            known = self._known.get(_of(request))
        if known is None:
            return None
        sent = round(_characters(request) / known.per_token) if known.per_token else 0
        return Usage(sent, round(known.output_tokens), estimated=True)


def _of(request: Request) -> tuple[str, str]:
    return request.step, request.template or request.stratum


def _characters(request: Request) -> int:
    return sum(len(str(each.get("content", ""))) for each in request.messages)
