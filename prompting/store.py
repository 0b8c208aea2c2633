"""Prompt store: versions that were published, and who moved which alias when. The contract."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from .text import PromptText


@dataclass(frozen=True, slots=True)
class Move:
    """Somebody moved an alias. `version`: None gives it back to the files. `at`: Unix seconds."""

    alias: str
    version: str | None
    at: float
    who: str
    why: str = ""


class PromptStore(Protocol):
    """Keeps versions and aliases, by the prompt's name. Raises StoreError where it cannot be used.

    Processes may share it. What was written is durable when a call returns. A look makes nothing.
    """

    @property
    def shown(self) -> str:
        """Where it is, without a password."""
        ...

    def publish(self, name: str, version: str, text: PromptText, *, at: float, who: str) -> bool:
        """Keep a version; it never changes from then on. Return False if it was kept before.

        Raises PromptError where the version was published with another content.
        """
        ...

    def text(self, name: str, version: str) -> PromptText | None:
        """Return what a version says, None for one that was not published."""
        ...

    def names(self) -> Sequence[str]:
        """Return the prompts that anything is known of, sorted."""
        ...

    def versions(self, name: str) -> Sequence[str]:
        """Return a prompt's published versions, in order."""
        ...

    def move(self, name: str, move: Move) -> None:
        """Move an alias. What it was before stays in the history."""
        ...

    def aliases(self, name: str) -> Mapping[str, str]:
        """Return the versions of the aliases that are the store's to decide."""
        ...

    def history(self, name: str) -> Sequence[Move]:
        """Return how a prompt's aliases were moved, oldest first."""
        ...

    def close(self) -> None:
        """Close what is open; the next call opens it again."""
        ...
