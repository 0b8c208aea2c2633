"""Store: what keeps answers by key, whichever way. Backends stand in files of their own."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from ..request import Stored
from .keys import Key


@dataclass(frozen=True, slots=True)
class Labels:
    """What an answer can be found by besides its key, to invalidate it.

    `prefix`: fingerprint of the request's stable prefix. `tags`: the user's own words.
    """

    step: str
    tenant: str = ""
    prefix: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure that would come again: the error's class and its message."""

    error: str
    message: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What is kept under a key. Times are Unix seconds.

    Fresh until `fresh_until`. From then until `expires_at` it is stale: it may still be served
    while a new one is asked for.
    """

    content: Stored | Failure
    labels: Labels
    stored_at: float
    fresh_until: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class Selection:
    """Which entries are meant: those that fit all that is given. Nothing given means all."""

    step: str | None = None
    tag: str | None = None
    prefix: str | None = None
    tenant: str | None = None

    def holds(self, labels: Labels) -> bool:
        """Tell whether an entry with these labels is meant."""
        return (
            self.step in (None, labels.step)
            and self.prefix in (None, labels.prefix)
            and self.tenant in (None, labels.tenant)
            and (self.tag is None or self.tag in labels.tags)
        )


@dataclass(frozen=True, slots=True)
class StoreStats:
    """What a store holds. `bytes`: size on disk. `failures`: entries that hold no answer."""

    path: str
    entries: int
    bytes: int
    steps: dict[str, int]
    failures: int = 0


class AnswerStore(Protocol):
    """Keeps answers by key. Raises StoreError where the store cannot be used."""

    def get(self, key: Key) -> Entry | None:
        """Return what is under a key, None if there is nothing or it has expired."""
        ...

    def put(self, key: Key, entry: Entry) -> None:
        """Keep an entry, in place of an older one; it is durable when this returns."""
        ...

    def remove(self, key: Key) -> bool:
        """Remove what is under a key. Tell whether there was anything."""
        ...

    def invalidate(self, which: Selection) -> int:
        """Remove what fits a selection. Return how many went."""
        ...

    def entries(self) -> Iterator[tuple[Key, Entry]]:
        """Yield all that has not expired, oldest first."""
        ...

    def faults(self) -> Iterator[str]:
        """Check everything, and yield a line for each thing that is damaged or foreign."""
        ...

    def stats(self) -> StoreStats:
        """Count what is there."""
        ...

    def lease(self, key: Key, owner: str, ttl_s: float) -> bool:
        """Take or prolong the right to ask for a key; False while another owner holds it.

        A lease ends by itself after `ttl_s` seconds, so that a dead owner blocks nobody for long.
        """
        ...

    def release(self, key: Key, owner: str) -> None:
        """Give a lease back; nothing happens if it is another's by now."""
        ...

    def close(self) -> None:
        """Close what is open; the next call opens it again."""
        ...
