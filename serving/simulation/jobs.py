"""Jobs: requests as a trace tells them, and what became of each. Values only."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Job:
    """A request. `at_ms`: when it is sent. `output_tokens`: 1 or more.

    `blocks`: names of its prompt's full blocks in order; equal names are equal prefixes.
    """

    name: int
    at_ms: float
    input_tokens: int
    output_tokens: int
    blocks: tuple[int, ...] = ()

    @property
    def tokens(self) -> int:
        """How long it is in the end."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a job. `cached_tokens`: of its prompt, found where it was first read.

    `replica`: who wrote its last token.
    """

    job: Job
    first_ms: float
    end_ms: float
    cached_tokens: int
    preemptions: int
    replica: int

    @property
    def ttft_ms(self) -> float:
        """Time to the first token, from when it was sent."""
        return self.first_ms - self.job.at_ms
