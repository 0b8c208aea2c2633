"""What `tierflow lint` finds in a file: steps, and where their options stand. Values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from .scope import Choices, Unknown

T = TypeVar("T")
Told: TypeAlias = T | Unknown
"""What a file says, or that it does not say it."""

OURS = frozenset(
    {
        "budget_usd",
        "cache",
        "cascade",
        "deadline_s",
        "evaluate",
        "on_chunk",
        "reason",
        "rollout",
        "route",
        "sampling",
        "tier",
    }
)
"""Options that only steps have: a `with_options` that takes one changes a step."""

MAX_LOSS = 0.01
"""What a cascade promises that says nothing of it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Line and column, both from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Rule:
    """A cascade: see `Cascade`. `judges`: the tiers that its judge asks."""

    to: Told[tuple[str, ...]]
    max_loss: Told[float | None]
    judges: Told[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Kept:
    """A cache: whether it keeps sampled answers, and the tier of its judge."""

    any_temperature: Told[bool]
    judge: Told[str | None]


@dataclass(frozen=True, slots=True)
class StepFound:
    """A step. `lines`: the first and the last of its call. `base`: the step that it changes.

    `choices`: how many results it can have. `route`: the tiers after its own. `evaluators`:
    the tiers that they ask. `at`: where its options stand.
    """

    name: Told[str]
    place: Place
    lines: tuple[int, int]
    at: Mapping[str, Place]
    tier: Told[str]
    choices: Choices
    reason: Told[str | None]
    tags: Told[frozenset[str]]
    cascade: Told[Rule | None]
    route: Told[tuple[str, ...] | None]
    cache: Told[Kept | None]
    temperature: Told[float | None]
    candidate: Told[str | None]
    evaluators: Told[tuple[Told[str], ...]]
    base: "StepFound | None" = None

    def where(self, option: str) -> Place:
        """Return where an option stands, else where the step does."""
        return self.at.get(option, self.place)


@dataclass(frozen=True, slots=True)
class Suppression:
    """A comment `# tierflow: ignore[TF001] why`."""

    line: int
    rules: frozenset[str]
    why: str


@dataclass(frozen=True, slots=True)
class SourceRead:
    """What a file holds."""

    steps: Sequence[StepFound]
    suppressions: Sequence[Suppression]
