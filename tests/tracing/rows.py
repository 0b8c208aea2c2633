"""Rows: a ledger's row with what a test does not care about filled in."""

from typing import Any

from tierflow.tracing import Row


def a_row(**fields: Any) -> Row:
    """A good answer of the fast tier, ten tokens in and two out, for one cent."""
    given: dict[str, Any] = {
        "at": "2026-01-01T00:00:00.000+00:00",
        "flow_run_id": "run",
        "flow": "inbox",
        "task_run_id": None,
        "step": "triage",
        "outcome": "ok",
        "tier": "fast",
        "model": "a",
        "arm": "",
        "tenant": "",
        "cache": "miss",
        "asks": 1,
        "failed_attempts": 0,
        "escalations": 0,
        "input_tokens": 10,
        "output_tokens": 2,
        "cache_read_tokens": 0,
        "cache_write_tokens": 0,
        "cost_usd": 0.01,
        "saved_usd": None,
        "saved_by_prefix_usd": 0.0,
        "strongest_usd": 0.1,
        "latency_ms": 100.0,
        "ttft_ms": None,
        "trace_id": None,
        "span_id": None,
    }
    return Row(**(given | fields))
