"""Effects: what the plan of a step asks of the caches. A driver carries them out."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from ..request import Stored
from .keys import Key


@dataclass(frozen=True, slots=True)
class Find:
    """Look an answer up. Sends back `Stored | None`."""

    key: Key


@dataclass(frozen=True, slots=True)
class Keep:
    """Store an answer for `ttl_s` seconds, tagged with its step. Sends back None."""

    key: Key
    answer: Stored
    step: str
    ttl_s: float


@dataclass(frozen=True, slots=True)
class Once:
    """Carry out `plan` unless the same key is under way in this process: then wait for that one.

    Sends back a `Shared`. Those who waited raise the leader's error if it failed.
    """

    key: Key
    plan: Generator[Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Shared:
    """What `Once` brought: `led` by this caller's own plan; None if the leader gave up."""

    result: Any
    led: bool
