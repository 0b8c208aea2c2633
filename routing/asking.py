"""Asking: one tier, one request, a reply that can be read. Decides only; a driver asks."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from ..errors import UnparseableReplyError
from ..request import Reply, Request
from .effects import OnChunk, Role
from .failover import failover
from .tiers import NamedTier
from .trail import Trail

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parsed(Generic[T]):
    """A reply and the value that was read from it."""

    reply: Reply
    value: T


@dataclass(frozen=True, slots=True)
class Question(Generic[T]):
    """A request, and how to read what comes back.

    `read`: turns reply text into a value, or raises UnparseableReplyError. `trail`: collects all
    that is tried for one step, judges' questions too.
    """

    request: Request
    read: Callable[[str], T]
    trail: Trail
    role: Role = "answer"
    on_chunk: OnChunk | None = None


def ask_tier(question: Question[T], tier: NamedTier) -> Generator[Any, Any, Parsed[T]]:
    """Ask one tier; a reply that does not parse gets one repair attempt.

    Raises UnparseableReplyError after that, AllDeploymentsFailedError, or RejectedError.
    """
    trail, role, on_chunk = question.trail, question.role, question.on_chunk
    if role == "answer":
        trail.tier = tier.name
    reply = yield from failover(tier, question.request, trail, role=role, on_chunk=on_chunk)
    try:
        return Parsed(reply, question.read(reply.text))
    except UnparseableReplyError as fault:
        request = _repair(question.request, reply, fault)
    again: Role = "repair" if role == "answer" else role
    reply = yield from failover(tier, request, trail, role=again, on_chunk=on_chunk)
    return Parsed(reply, question.read(reply.text))


def _repair(request: Request, reply: Reply, fault: UnparseableReplyError) -> Request:
    complaint = f"That reply cannot be used: {fault}\nReply again, with nothing but the JSON."
    return replace(
        request,
        messages=(
            *request.messages,
            {"role": "assistant", "content": reply.text},
            {"role": "user", "content": complaint},
        ),
    )
