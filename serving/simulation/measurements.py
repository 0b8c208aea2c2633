"""Measurements: what a client saw of an engine, and what its scheduler computed meanwhile.

The run that tells most: streams write, and a prompt joins them. While it is read, every gap of a
stream is one iteration, whose work is known from the engine's chunk size.
"""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from statistics import fmean, median
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from ...errors import SimulationError
from .cost import CostModel, Work
from .engine import Engine
from .jobs import Job
from .profile import Profile
from .stream import Stream
from .tally import Tally


class Setting(BaseModel):
    """A run's terms. `decodes`: streams that wrote, each with `decode_context` tokens computed.

    `prompt_tokens`: of what joined them; 0 for streams alone.
    """

    model_config = ConfigDict(frozen=True)

    max_num_batched_tokens: int = Field(ge=2)
    decodes: int = Field(ge=0)
    decode_context: int = Field(default=64, ge=2)
    prompt_tokens: int = Field(ge=0)

    @model_validator(mode="after")
    def _leaves_room(self) -> Self:
        if self.decodes >= self.max_num_batched_tokens:
            raise ValueError("max_num_batched_tokens must exceed decodes, or no prompt is read")
        return self


class Measured(BaseModel):
    """One run. `quiet_ms`: gaps before the prompt came; `gaps_ms`: one per iteration that read it.

    `ttft_ms`: of the prompt, from when it was sent; None without one.
    """

    model_config = ConfigDict(frozen=True)

    setting: Setting
    quiet_ms: tuple[float, ...] = ()
    gaps_ms: tuple[float, ...] = ()
    ttft_ms: float | None = None


_RUNS = TypeAdapter(tuple[Measured, ...])


def read_measurements(path: Path) -> tuple[Measured, ...]:
    """Return the runs that `tierflow serving fit --keep` wrote. Raises SimulationError."""
    try:
        return _RUNS.validate_json(path.read_bytes())
    except (OSError, ValidationError) as exc:
        raise SimulationError(
            f"{path} holds no measured runs ({type(exc).__name__}). Write them with `tierflow "
            "serving fit --url URL --chunk TOKENS --keep FILE`."
        ) from exc


def write_measurements(runs: Sequence[Measured], path: Path) -> None:
    """Write runs for `read_measurements`."""
    path.write_bytes(_RUNS.dump_json(tuple(runs), indent=1))


def quiet_work(setting: Setting) -> Work:
    """Return the work of one iteration of the writing streams alone."""
    before = setting.decode_context
    count = setting.decodes
    return Work(count, count * (before + 1), count, count * before)


def reading_work(setting: Setting) -> list[Work]:
    """Return the work of each iteration that reads the prompt: the simulated scheduler's."""
    profile = Profile(
        max_num_batched_tokens=setting.max_num_batched_tokens, max_num_seqs=setting.decodes + 1
    )
    free = CostModel(iteration_ms=0, token_ms=0)
    engine = Engine(profile, free, Random(0), Tally())  # noqa: S311  # nothing is drawn
    many = setting.max_num_batched_tokens + setting.prompt_tokens
    read = setting.decode_context - 1
    for number in range(setting.decodes):
        job = Job(number, 0, read, many)
        engine.submit(Stream(job, known=read + 1, written=1, arrived_with=read))
    if batch := engine.plan(ahead=False):
        engine.finish(batch, 0)
    prompt = Stream(Job(-1, 0, setting.prompt_tokens, 2))
    engine.submit(prompt)
    found = list[Work]()
    while not prompt.written and (batch := engine.plan(ahead=False)):
        found.append(engine.work(batch))
        engine.finish(batch, 0)
    return found


def typical(runs: Sequence[Measured]) -> tuple[float | None, list[float] | None, float | None]:
    """Return the medians of runs of one setting: quiet gap, each reading iteration, and TTFT.

    Of quiet gaps it is the median of the runs' means: a client that is late once sees one gap too
    long and the next too short. None where no run tells: of the iterations, where no run saw as
    many as were to be seen.
    """
    setting = runs[0].setting
    quiet = [fmean(run.quiet_ms) for run in runs if run.quiet_ms]
    wanted = len(reading_work(setting)) if setting.prompt_tokens and setting.decodes else 0
    whole = [run.gaps_ms for run in runs if wanted and len(run.gaps_ms) == wanted]
    waits = [run.ttft_ms for run in runs if run.ttft_ms is not None]
    return (
        median(quiet) if quiet else None,
        [median(each) for each in zip(*whole, strict=True)] if whole else None,
        median(waits) if waits else None,
    )
