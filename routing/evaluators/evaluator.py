"""Evaluator: says how good an answer was that has been given. It decides nothing any more."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from ...request import Request
from ...tracing.evaluations import Source, is_word
from ..tiers import NamedTier
from ..trail import Trail

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Found:
    """What an evaluator found. `score`: 0-1; `label`: one of few words; at least one of both.

    `explanation`: may quote the answer, so it stays in the store.
    """

    name: str
    score: float | None = None
    label: str | None = None
    explanation: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Answered(Generic[T]):
    """An answer to evaluate. `request`: what was asked, under the name of the evaluation's step.

    `text`: the reply; `value`: what was read from it. `tier`: who gave it, None where it is not of
    the step's tiers any more. `helpers`: the tiers that the evaluator named. `trail`: collects what
    they are asked.
    """

    request: Request
    text: str
    value: T
    latency_ms: float
    tier: NamedTier | None
    helpers: Mapping[str, NamedTier]
    trail: Trail


class Evaluator(Protocol):
    """Evaluates a sample of a step's answers. `find` is a plan: it does no I/O itself."""

    @property
    def name(self) -> str:
        """What it is called in logs; most of them call what they find so, too."""
        ...

    @property
    def identity(self) -> str:
        """Who evaluates, in one line that changes with what decides a finding."""
        ...

    @property
    def source(self) -> Source:
        """Whether a model judges, or a function."""
        ...

    @property
    def sample(self) -> float:
        """The share of answers that is evaluated, 0-1."""
        ...

    @property
    def hits(self) -> bool:
        """Whether answers from the caches are evaluated, too."""
        ...

    @property
    def tiers(self) -> tuple[str, ...]:
        """The tiers it asks."""
        ...

    def find(self, answered: Answered[Any]) -> Generator[Any, Any, Sequence[Found]]:
        """Return what is to be said of an answer."""
        ...


@dataclass(frozen=True, slots=True)
class Sampled:
    """What all evaluators have. Raises ValueError for a name or a share that cannot be."""

    name: str
    identity: str
    source: Source
    sample: float
    hits: bool = False
    tiers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not is_word(self.name):
            raise ValueError(
                f"{self.name!r:.60} cannot name an evaluation. Give a word or a few, 64 letters at "
                "most."
            )
        if not 0 <= self.sample <= 1:
            raise ValueError(f"sample is {self.sample}, but it is a share between 0 and 1.")
