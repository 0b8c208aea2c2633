"""Store: what keeps answers by key, whichever way. Backends stand in files of their own."""

from dataclasses import dataclass
from typing import Protocol

from ..request import Stored
from .keys import Key


@dataclass(frozen=True, slots=True)
class StoreStats:
    """What a store holds. `bytes`: size on disk."""

    path: str
    entries: int
    bytes: int
    steps: dict[str, int]


class AnswerStore(Protocol):
    """Keeps answers by key. Raises StoreError where the store cannot be used."""

    def get(self, key: Key) -> Stored | None:
        """Return the answer under a key, None if there is none or it has expired."""
        ...

    def put(self, key: Key, answer: Stored, *, step: str, ttl_s: float) -> None:
        """Keep an answer for `ttl_s` seconds; it is durable when this returns."""
        ...

    def clear(self, step: str | None = None) -> int:
        """Remove the answers of one step, or all. Return how many went."""
        ...

    def stats(self) -> StoreStats:
        """Count what is there."""
        ...

    def close(self) -> None:
        """Close what is open; the next call opens it again."""
        ...
