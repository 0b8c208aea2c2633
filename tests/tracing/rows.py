"""Rows: a ledger's row with what a test does not care about filled in."""

from typing import Any

from tierflow.tracing import Call, Row


def a_row(**fields: Any) -> Row:
    """A good answer of the fast tier, ten tokens in and two out, for one cent."""
    given: dict[str, Any] = {
        "ref": "answer",
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
        "prompt": "",
        "prompt_version": "",
        "prompt_hash": "",
        "cache": "miss",
        "asks": 1,
        "failed_attempts": 0,
        "escalations": 0,
        "passed_by": None,
        "input_tokens": 10,
        "output_tokens": 2,
        "cache_read_tokens": 0,
        "cache_write_tokens": 0,
        "reasoning_tokens": 0,
        "cost_usd": 0.01,
        "saved_usd": None,
        "saved_by_prefix_usd": 0.0,
        "strongest_usd": 0.1,
        "latency_ms": 100.0,
        "ttft_ms": None,
        "itl_ms": None,
        "itl_p95_ms": None,
        "trace_id": None,
        "span_id": None,
        "response_id": None,
        "rejection": None,
    }
    return Row(**(given | fields))


def a_call(**fields: Any) -> Call:
    """The call that such an answer took."""
    given: dict[str, Any] = {
        "ref": "answer",
        "at": "2026-01-01T00:00:00.000+00:00",
        "role": "answer",
        "tier": "fast",
        "deployment": "openai/a",
        "model": "a",
        "outcome": "ok",
        "input_tokens": 10,
        "output_tokens": 2,
        "cache_read_tokens": 0,
        "cache_write_tokens": 0,
        "reasoning_tokens": 0,
        "estimated": False,
        "cost_usd": 0.01,
        "saved_by_prefix_usd": 0.0,
        "latency_ms": 90.0,
        "ttft_ms": None,
        "itl_ms": None,
        "itl_p95_ms": None,
    }
    return Call(**(given | fields))
