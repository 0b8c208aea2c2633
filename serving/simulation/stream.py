"""Stream: a job inside an engine, and a batch of them: what one or more iterations compute."""

from bisect import bisect_left
from dataclasses import dataclass, field

from .jobs import Job


@dataclass(slots=True, eq=False)
class Stream:
    """A job as an engine holds it.

    `known`: tokens that exist, prompt and written; `computed`: those with keys and values in the
    cache; `told`: blocks of the prompt whose names were told; `expected`: tokens to be read that
    the engine counts while it waits; `arrived_with`: tokens whose KV cache another engine sent;
    `until`: tokens that it writes here, all of its job's if None.
    """

    job: Job
    until: int | None = None
    known: int = 0
    computed: int = 0
    written: int = 0
    arrived_with: int = 0
    named: list[int] = field(default_factory=list[int])
    private: int = 0
    told: int = 0
    expected: int = 0
    cached: int | None = None
    preemptions: int = 0
    first_ms: float = 0.0
    last_ms: float = 0.0

    def __post_init__(self) -> None:
        """Start with the prompt."""
        self.known = self.known or self.job.input_tokens

    @property
    def unread(self) -> int:
        """Tokens that must be computed before it writes again."""
        return self.known - self.computed

    @property
    def unwritten(self) -> int:
        """Tokens that it still has to write."""
        return (self.until or self.job.output_tokens) - self.written


@dataclass(frozen=True, slots=True)
class Batch:
    """An iteration, or up to `count` in a row that differ only in how much is known.

    `chunks`, `decodes`: streams with the tokens that each computes. `first_ms`: how long the first
    takes; each of the others takes `growth_ms` more than the one before. `takes`: blocks that the
    others need.
    """

    chunks: list[tuple[Stream, int]]
    decodes: list[tuple[Stream, int]]
    first_ms: float
    growth_ms: float = 0.0
    count: int = 1
    takes: int = 0

    def ms(self, count: int) -> float:
        """Return how long the first `count` iterations take."""
        return count * self.first_ms + self.growth_ms * (count * (count - 1) // 2)

    def reached(self, elapsed_ms: float) -> int:
        """Return the iteration that is under way after this time, or ends then; from 1 on."""
        return 1 + bisect_left(range(1, self.count), elapsed_ms, key=self.ms)
