"""Cost: how long an engine takes for one iteration. Knows no scheduler."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...errors import SimulationError


@dataclass(frozen=True, slots=True)
class Work:
    """What one iteration computes.

    `tokens`: new ones, of chunks and decodes. `pairs`: of each new token with each token that it
    attends to, itself included. `decodes`: sequences that decode. `context`: what these have
    read before, in tokens, which an accelerator loads again for every one of them.
    """

    tokens: int = 0
    pairs: int = 0
    decodes: int = 0
    context: int = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(
            self.tokens + other.tokens,
            self.pairs + other.pairs,
            self.decodes + other.decodes,
            self.context + other.context,
        )


def work_of(chunks: Iterable[tuple[int, int]], decodes: Iterable[tuple[int, int]] = ()) -> Work:
    """Return the work of chunks and decodes, each `(new tokens, tokens before them)`."""
    found = Work()
    for tokens, before in chunks:
        found += Work(tokens, pairs_of(tokens, before))
    for tokens, before in decodes:
        found += Work(tokens, pairs_of(tokens, before), 1, before)
    return found


def pairs_of(tokens: int, before: int) -> int:
    """Return the sum over new tokens of what each attends to: exactly, not `n · ctx`."""
    return tokens * before + tokens * (tokens + 1) // 2


class CostModel(BaseModel):
    """Milliseconds of an iteration, linear in its work.

    `request_ms`: what a request takes beside its iterations: the way there and back, reading the
    prompt. `origin`: what these numbers were measured on or calculated from.
    Source of the form: Sarathi-Serve (arXiv 2403.02310), section 4; Vidur (arXiv 2405.05465).
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    iteration_ms: float = Field(ge=0)
    token_ms: float = Field(ge=0)
    pair_ms: float = Field(default=0.0, ge=0)
    decode_ms: float = Field(default=0.0, ge=0)
    context_ms: float = Field(default=0.0, ge=0)
    request_ms: float = Field(default=0.0, ge=0)
    origin: str = ""

    def ms(self, work: Work) -> float:
        """Return how long an iteration with this work takes."""
        return self.iteration_ms + self.growth_ms(work)

    def growth_ms(self, work: Work) -> float:
        """Return what this work adds to an iteration that takes place anyway."""
        return (
            self.token_ms * work.tokens
            + self.pair_ms * work.pairs
            + self.decode_ms * work.decodes
            + self.context_ms * work.context
        )


H100_8B = CostModel(
    iteration_ms=8.0,
    token_ms=0.04,
    pair_ms=1.3e-6,
    context_ms=4.0e-5,
    request_ms=5.0,
    origin="calculated: Llama 3.1 8B in bfloat16 on one H100 (not measured)",
)
"""What the data sheet gives: 16 GB of weights at 3.35 TB/s and 3 ms around them; 16 GFLOP a token
and 0.52 MFLOP a pair at 400 TFLOP/s; 131 kB of KV cache a token of context at 3.35 TB/s."""


def read_cost(path: Path) -> CostModel:
    """Return the cost model of a file that `tierflow serving fit` wrote. Raises SimulationError."""
    try:
        return CostModel.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as exc:
        raise SimulationError(
            f"{path} holds no cost model ({type(exc).__name__}). Write one with `tierflow serving "
            "fit --json FILE`."
        ) from exc
