"""Ledger: a row per step that ended, and one per call of its. For reports and the command line."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


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

    `ref`: names it, see Answer. `outcome`: "ok", or the error's name. `asks`: replies that were
    paid for. `cost_usd`: None if any of them has no price. `strongest_usd`, `saved_by_prefix_usd`:
    see Answer. `ttft_ms`, `itl_ms`, `itl_p95_ms`: of the accepted reply, if it was streamed.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call to one deployment. `ref`: of the step that made it. `at`: ISO time in UTC.

    `role`: why it was made: "answer", "repair", "judge". `outcome`: "ok", or the error's name; a
    failure has cost nothing as far as is known. `cost_usd`: None without a price. `estimated`: its
    tokens are a guess. Times in ms.
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

    def last_flow_run(self) -> str | None:
        """Return the id of the flow run that wrote last."""
        ...

    def close(self) -> None:
        """Close what is open; the next call opens it again."""
        ...
