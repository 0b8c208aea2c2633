"""Evaluation store: what keeps evaluations. The contract; sql_store.py fulfils it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from .evaluation import Evaluation, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Evaluations that are alike but for their score. `scored`: how many have one; `total`: sum.

    `last`: whether each is the last score that its evaluator gave the answer, under any name.
    """

    step: str
    tier: str
    model: str
    arm: str
    name: str
    label: str | None
    source: Source
    count: int
    scored: int
    total: float
    last: bool = True


class Evaluations(Protocol):
    """Keeps evaluations, for good. Raises StoreError where it cannot be used.

    What the same evaluator finds of an answer later is kept beside the older, and counts instead
    of it: whoever gives feedback may change their mind.
    """

    def add(self, evaluation: Evaluation) -> None:
        """Keep an evaluation; it is durable when this returns."""
        ...

    def of_answer(self, ref: str) -> Sequence[Evaluation]:
        """Return what was found of an answer, oldest first.

        An explanation is None, too, where it cannot be read: sealed with a key that is not in
        force, or damaged.
        """
        ...

    def scores(self, flow_run_id: str) -> Mapping[str, tuple[float, int]]:
        """Return mean score and number of scores by step, of the answers of one flow run."""
        ...

    def counted(self, *, since: str = "", step: str | None = None) -> Sequence[Counted]:
        """Return how many there are of each kind, of those made at `since` (ISO, UTC) or later.

        `step`: only those of its answers.
        """
        ...

    def close(self) -> None:
        """Close what is open; the next call opens it again."""
        ...
