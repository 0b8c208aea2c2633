"""Effects: what the plan of a step asks of the caches. A driver carries them out."""

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from .keys import Key
from .policy import SemanticCache
from .similar import Finding, Place
from .store import Entry


@dataclass(frozen=True, slots=True)
class Find:
    """Look up what is kept under a key. Sends back `Entry | None`."""

    key: Key


@dataclass(frozen=True, slots=True)
class Keep:
    """Keep an entry. Sends back None."""

    key: Key
    entry: Entry


@dataclass(frozen=True, slots=True)
class Resemble:
    """Look for a stored question like this one. Sends back `Finding | None`: None for never."""

    place: Place
    ask: str
    terms: SemanticCache


@dataclass(frozen=True, slots=True)
class Learn:
    """Take in whether a finding's candidate has the same answer as the new one. Sends back None.

    `weight`: one over the share of such cases that are compared.
    """

    finding: Finding
    same: bool
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Remember:
    """Keep the question of a finding; its answer is kept under `key`. Sends back None.

    `value`: hash of the answer's value.
    """

    finding: Finding
    key: Key
    value: str


@dataclass(frozen=True, slots=True)
class Forget:
    """Remove the candidate of a finding, whose answer is gone. Sends back None."""

    finding: Finding


@dataclass(frozen=True, slots=True)
class Once:
    """Carry out `plan` unless the same key is under way in this process: then wait for that one.

    Sends back a `Shared`. Those who waited raise the leader's error if it failed. `most_wait_s`:
    who waited for so long carries out the own plan after all.
    """

    key: Key
    plan: Generator[Any, Any, Any]
    most_wait_s: float = math.inf


@dataclass(frozen=True, slots=True)
class Shared:
    """What `Once` brought: `led` by this caller's own plan; None if the leader gave up."""

    result: Any
    led: bool


@dataclass(frozen=True, slots=True)
class Lease:
    """Take the right to ask for a key among all processes. Sends back False if another has it."""

    key: Key


@dataclass(frozen=True, slots=True)
class Release:
    """Give that right back. Sends back None."""

    key: Key


@dataclass(frozen=True, slots=True)
class Later:
    """Carry out `plan` in the background, unless one for the key is under way. Sends back None."""

    key: Key
    plan: Generator[Any, Any, Any]
