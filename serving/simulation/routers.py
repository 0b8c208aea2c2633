"""Routers: who of several replicas gets a job. They see what a simulated engine knows of itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Protocol

from ...pools import PREFILL_WEIGHT
from .jobs import Job


class Replica(Protocol):
    """What a router may know of an engine: its requests, what it has to read, what it holds."""

    @property
    def requests(self) -> int:
        """How many are there, waiting or not."""
        ...

    @property
    def backlog_tokens(self) -> int:
        """Tokens that it still has to read."""
        ...

    def cached_tokens(self, job: Job) -> int:
        """Return how much of a job's prompt it need not read."""
        ...


class Router(Protocol):
    """Places jobs, and is told when each has its first token and when it has ended."""

    def place(self, job: Job, replicas: Sequence[Replica]) -> int:
        """Return the place of the replica that gets the job."""
        ...

    def began(self, job: Job) -> None:
        """Hear that a job's prompt was read."""
        ...

    def ended(self, job: Job) -> None:
        """Hear that a job has ended."""
        ...


class _Deaf:
    """A router that needs not hear what became of jobs: it looks at the replicas."""

    def began(self, job: Job) -> None:
        """Hear that a job's prompt was read."""

    def ended(self, job: Job) -> None:
        """Hear that a job has ended."""


class RoundRobin(_Deaf):
    """One after the other."""

    def __init__(self) -> None:
        self._turns = count()

    def place(self, job: Job, replicas: Sequence[Replica]) -> int:  # noqa: ARG002  # any job
        """Return whose turn it is."""
        return next(self._turns) % len(replicas)


class LeastLoaded(_Deaf):
    """Whoever has the fewest requests."""

    def place(self, job: Job, replicas: Sequence[Replica]) -> int:  # noqa: ARG002  # any job
        """Return the first of those with the fewest requests."""
        return min(range(len(replicas)), key=lambda at: replicas[at].requests)


@dataclass(frozen=True, slots=True)
class LeastWork(_Deaf):
    """The least of backlog and `prefill_weight` times uncached tokens, known exactly.

    The rule of routing/affinity with perfect knowledge: what it can do at best.
    """

    prefill_weight: float = PREFILL_WEIGHT

    def place(self, job: Job, replicas: Sequence[Replica]) -> int:
        """Return the replica with the least to read; among equals the one with the fewest."""

        def work(at: int) -> tuple[float, int]:
            each = replicas[at]
            uncached = job.input_tokens - each.cached_tokens(job)
            return each.backlog_tokens + self.prefill_weight * uncached, each.requests

        return min(range(len(replicas)), key=work)


@dataclass(frozen=True, slots=True)
class Lanes(_Deaf):
    """Two lanes: jobs with more than `threshold` uncached tokens go to the first `heavy` replicas.

    Within its lane a job goes where `LeastWork` sends it.
    """

    threshold: int
    heavy: int
    within: LeastWork = LeastWork()

    def place(self, job: Job, replicas: Sequence[Replica]) -> int:
        """Return the place of a replica of the job's lane."""
        cached = max(each.cached_tokens(job) for each in replicas)
        if job.input_tokens - cached > self.threshold:
            return self.within.place(job, replicas[: self.heavy])
        return self.heavy + self.within.place(job, replicas[self.heavy :])
