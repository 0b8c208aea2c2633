"""Gate reviews: accepted answers that people are to say right or wrong of. The queue's contract."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

MOST_OPEN = 1000
"""So many answers of a gate wait at most. The oldest goes: a watch for drift wants recent ones."""


@dataclass(frozen=True, slots=True)
class Review:
    """An accepted answer that waits for a person. `at`: when it was accepted, Unix seconds.

    `ask`: what of the request varied. `answer`: the reply. Both are None where they cannot be
    read: sealed with a key that is not in force, or damaged.
    """

    id: int
    gate: str
    stratum: str
    at: float
    ask: str | None = field(repr=False)
    answer: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What a person said of an answer. `alarm`: whether audits of the gate show drift."""

    id: int
    gate: str
    right: bool
    alarm: bool


class Reviews(Protocol):
    """Keeps what people are to look at, by gate. Raises StoreError where it cannot be used.

    Processes may share it. What was written is durable when a call returns.
    """

    def put(self, gate: str, *, stratum: str, at: float, ask: str, answer: str) -> None:
        """Have people look at an answer that was accepted at `at`."""
        ...

    def waiting(
        self, gate: str | None = None, *, before: int | None = None, limit: int | None = None
    ) -> Sequence[Review]:
        """Return what nobody has said anything of, newest first; of all gates where none is named.

        `before`: only those whose id is lower.
        """
        ...

    def counts(self) -> Mapping[str, int]:
        """Return how many wait, by gate; a gate without any is not there."""
        ...

    def say(self, review: int, *, right: bool, who: str, at: float) -> Reviewed:
        """Keep what a person says, and enter it as an audit: both, or neither.

        The texts are deleted. Raises ReviewError for one that is not there, or of which somebody
        has said something before.
        """
        ...

    def close(self) -> None:
        """Close what is open; the next call opens it again."""
        ...
