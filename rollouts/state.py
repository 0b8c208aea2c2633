"""State: where a rollout stands. A frozen value with a revision: a change makes a new one."""

from collections.abc import Mapping
from typing import Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import StoreError
from .rollout import Rollout
from .terms import Terms

Phase: TypeAlias = Literal["pending", "progressing", "paused", "healthy", "degraded"]
"""Not begun; going on; waiting for a person; the candidate has taken over; it was taken back."""

WORDS: Mapping[Phase, str] = {
    "pending": "not started",
    "progressing": "progressing",
    "paused": "paused",
    "healthy": "taken over",
    "degraded": "taken back",
}
"""The same in the words that people read everywhere."""


class Epoch(BaseModel):
    """A time under one weight. `since`: Unix seconds. `step`: which of the rollout's steps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    weight: float
    step: int
    since: float


class RolloutState(BaseModel):
    """Where a rollout stands. `revision`: one more with each change.

    `terms`: how it goes on, as they were when it was started; code that changes meanwhile changes
    nothing of it. `epochs`: all times so far, the last one now. `begun`: the first one that counts:
    what was seen before a retry does not. `reason`: why it came to be so, in a sentence.
    `by`: who changed it last. `frozen`: what of the baseline was measured and held fast, by metric.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    rollout: str
    revision: int = 0
    phase: Phase = "pending"
    terms: Terms = Terms()
    begun: int = 0
    epochs: tuple[Epoch, ...] = ()
    reason: str = ""
    by: str = ""
    at: float = 0.0
    frozen: dict[str, float] = {}

    @property
    def plan(self) -> Rollout:
        """The rollout by its terms, without what the candidate changes."""
        return self.terms.rollout(self.rollout)

    @property
    def word(self) -> str:
        """Its phase in the words that people read."""
        return WORDS[self.phase]

    @property
    def weight(self) -> float:
        """The share of units that the candidate answers for now."""
        return self.epochs[-1].weight if self.epochs else 0.0

    @property
    def epoch(self) -> int:
        """The number of the time under this weight."""
        return self.epochs[-1].number if self.epochs else 0

    @property
    def step(self) -> int:
        """Which of the rollout's steps it is in."""
        return self.epochs[-1].step if self.epochs else 0

    @property
    def in_shadow(self) -> bool:
        """Whether nobody is answered by the candidate, but it is asked for comparison."""
        return self.phase in ("progressing", "paused") and self.terms.steps[self.step] == "shadow"

    @property
    def since(self) -> float:
        """When this time began, Unix seconds."""
        return self.epochs[-1].since if self.epochs else 0.0

    @property
    def weights(self) -> Mapping[int, float]:
        """The weight of each epoch that counts."""
        return {each.number: each.weight for each in self.epochs if each.number >= self.begun}

    def becoming(self, phase: Phase, reason: str, by: str, at: float) -> Self:
        """Return the next state, with the same weight."""
        return self.model_copy(
            update={
                "revision": self.revision + 1,
                "phase": phase,
                "reason": reason,
                "by": by,
                "at": at,
            }
        )

    def weighing(self, weight: float, step: int, at: float) -> Self:
        """Return the state with another weight; a new epoch begins."""
        epoch = Epoch(number=self.epoch + 1, weight=weight, step=step, since=at)
        return self.model_copy(update={"epochs": (*self.epochs, epoch)})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `model_dump_json` wrote. Raises StoreError for what cannot be read."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as exc:
            first = ".".join(map(str, exc.errors()[0]["loc"]))
            raise StoreError(
                f"A rollout's state cannot be read: {first or 'it is no JSON'}. It is damaged or "
                "of another version. Delete it where it is kept: the revision before it holds then."
            ) from None
