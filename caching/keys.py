"""Keys: the SHA-256 of a whole request. Two requests share a key only if they are the same."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, NewType

from ..request import Request, canonical_json

Key = NewType("Key", str)

VERSION = 2
"""Part of every key: raise it when the meaning of a field changes."""

DISMISSED: frozenset[str] = frozenset({"template"})
"""Fields of Request that cannot change the answer. A test fails for one neither here nor keyed."""

_OF_THE_ASK = frozenset({"messages", "item"})
_OF_THE_ASKER = frozenset({"tenant"})


def request_key(request: Request, route: Sequence[str]) -> Key:
    """Return the key of a request as it would be answered over `route`.

    `route`: one text per tier and judge of the step's chain that says all that decides who
    answers: deployments, endpoints, sampling, thresholds. Raises TypeError for a message that
    JSON cannot hold.
    """
    return Key(_hash(route, _whole(request)))


def partition_key(request: Request, route: Sequence[str]) -> str:
    """Return the hash of everything but the last message's text: what similar questions share."""
    whole, (*before, last) = _whole(request, without=_OF_THE_ASK), request.messages
    around = {name: part for name, part in last.items() if name != "content"}
    return _hash(route, {**whole, "before": before, "around": around})


def scope_key(request: Request, route: Sequence[str]) -> str:
    """Return the hash of what is the same in every call of a step: where likeness is learned."""
    whole = _whole(request, without=_OF_THE_ASK | _OF_THE_ASKER)
    return _hash(route, {**whole, "prefix": _prefix(request)})


def prefix_key(request: Request) -> str:
    """Return the hash of a request's stable prefix, to invalidate by."""
    return _hash((), {"prefix": _prefix(request)})[:16]


def value_key(value: str) -> str:
    """Return the hash of a value's text; blanks around it do not count."""
    return hashlib.sha256(value.strip().encode()).hexdigest()[:32]


def _prefix(request: Request) -> Sequence[Any]:
    return request.messages[: request.prefix_messages]


def _whole(request: Request, without: frozenset[str] = frozenset()) -> dict[str, Any]:
    whole = {
        field.name: getattr(request, field.name)
        for field in fields(request)
        if field.name not in DISMISSED | without
    }
    whole["sampling"] = request.sampling.given()
    # The content alone, under whatever version; similar questions must not mix two asks' words.
    prompt = whole.pop("prompt_id")
    return whole if prompt is None else {**whole, "prompt": prompt.hash}


def _hash(route: Sequence[str], whole: Mapping[str, Any]) -> str:
    text = canonical_json({"version": VERSION, "route": list(route), "request": whole})
    return hashlib.sha256(text.encode()).hexdigest()
