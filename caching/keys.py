"""Keys: the SHA-256 of a whole request. Two requests share a key only if they are the same."""

import hashlib
from collections.abc import Sequence
from dataclasses import fields
from typing import NewType

from ..request import Request, canonical_json

Key = NewType("Key", str)

VERSION = 1
"""Part of every key: raise it when the meaning of a field changes."""

DISMISSED: frozenset[str] = frozenset()
"""Fields of Request that cannot change the answer. A test fails for one neither here nor keyed."""


def request_key(request: Request, route: Sequence[str]) -> Key:
    """Return the key of a request as it would be answered over `route`.

    `route`: one text per tier and judge of the step's chain that says all that decides who
    answers: deployments, endpoints, sampling, thresholds. Raises TypeError for a message that
    JSON cannot hold.
    """
    whole = {
        field.name: getattr(request, field.name)
        for field in fields(request)
        if field.name not in DISMISSED
    }
    whole["sampling"] = request.sampling.given()
    text = canonical_json({"version": VERSION, "route": list(route), "request": whole})
    return Key(hashlib.sha256(text.encode()).hexdigest())
