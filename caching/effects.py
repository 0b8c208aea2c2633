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

    Sends back the plan's result to the leader, and None to those who waited: what they want is
    now in the store. They raise the leader's error if it failed.
    """

    key: Key
    plan: Generator[Any, Any, Any]
