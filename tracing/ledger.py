"""Ledger: a row per step that ended, and one per call of its. For reports and the command line."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .costs import By, Costs, FlowRun, Window


@dataclass(frozen=True, slots=True)
class Where:
    """Where and when a step ran: ISO time in UTC, ids as text; None outside of a run."""

    at: str
    flow_run_id: str | None = None
    flow: str | None = None
    task_run_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One step's end, good or bad. `at`: when it began, ISO time in UTC.

    `ref`: names it, see Answer. `outcome`: "ok", or the error's name. `asks`: calls that were
    paid for. `cost_usd`: None if any of them has no price. `strongest_usd`, `saved_by_prefix_usd`:
    see Answer. `ttft_ms`, `itl_ms`, `itl_p95_ms`: of the accepted reply, if it was streamed.
    `rejection`: what takes the answer out of the caches, as its room wrote it; None for nothing.
    `prompt`, `prompt_version`, `prompt_hash`: of the registered prompt, empty for another.
    `passed_by`: why cheaper tiers were passed by, a line "judge: reason" for each; None for none.
    """

    ref: str
    at: str
    flow_run_id: str | None
    flow: str | None
    task_run_id: str | None
    step: str
    outcome: str
    tier: str
    model: str
    arm: str
    tenant: str
    prompt: str
    prompt_version: str
    prompt_hash: str
    cache: str
    asks: int
    failed_attempts: int
    escalations: int
    passed_by: str | None
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    cost_usd: float | None
    saved_usd: float | None
    saved_by_prefix_usd: float | None
    strongest_usd: float | None
    latency_ms: float
    ttft_ms: float | None
    itl_ms: float | None
    itl_p95_ms: float | None
    trace_id: str | None
    span_id: str | None
    response_id: str | None
    rejection: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call to one deployment. `ref`: of the step that made it. `at`: ISO time in UTC.

    `role`: why it was made: "answer", "repair", "judge", and what routing will add. `outcome`:
    "ok", or the error's name; a failure costs what had arrived of its reply. `cost_usd`: None
    without a price. `estimated`: its tokens are a guess. Times in ms.
    """

    ref: str
    at: str
    role: str
    tier: str
    deployment: str
    model: str
    outcome: str
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    estimated: bool
    cost_usd: float | None
    saved_by_prefix_usd: float | None
    latency_ms: float
    ttft_ms: float | None
    itl_ms: float | None
    itl_p95_ms: float | None


ASIDES = ("audit", "calibration", "evaluation", "route", "shadow", "training")
"""What is asked beside a step's own answers is accounted for as the step "NAME (audit)", say."""


def is_aside(step: str) -> bool:
    """Tell whether a step's name is that of what was asked beside another's answers."""
    return step.endswith(tuple(f" ({kind})" for kind in ASIDES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How often one way through a step was gone to its end, and how often well."""

    step: str
    tier: str
    model: str
    arm: str
    count: int
    ok: int


class Ledger(Protocol):
    """Keeps rows. Every method raises StoreError where the store cannot be used."""

    def add(self, row: Row, calls: Sequence[Call] = ()) -> None:
        """Keep a step's row and its calls; they are durable when this returns."""
        ...

    def of_flow_run(self, flow_run_id: str) -> Sequence[Row]:
        """Return the rows of one flow run, oldest first."""
        ...

    def calls_of_flow_run(self, flow_run_id: str) -> Sequence[Call]:
        """Return the calls of one flow run's steps, oldest first."""
        ...

    def find(self, ref: str) -> Row | None:
        """Return the row of that reference; None if there is none."""
        ...

    def of_task_run(self, task_run_id: str) -> Sequence[Row]:
        """Return the rows of one task run, oldest first: of each attempt, each item of a batch."""
        ...

    def ended(self, *, since: str = "", step: str | None = None) -> Sequence[Ended]:
        """Return how steps ended that began at `since`, an ISO time in UTC, or later.

        `step`: only those of that name.
        """
        ...

    def last_flow_run(self) -> str | None:
        """Return the id of the flow run that wrote last."""
        ...

    def costs(self, by: By, window: Window) -> Sequence[Costs]:
        """Return what was spent within a window, summed by what `by` names."""
        ...

    def flow_runs(self, limit: int) -> Sequence[FlowRun]:
        """Return the flow runs that wrote last, the newest first."""
        ...

    def close(self) -> None:
        """Close what is open; the next call opens it again."""
        ...
