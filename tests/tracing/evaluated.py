"""Evaluated: an evaluation with what a test does not care about filled in."""

from typing import Any

from tierflow.tracing.evaluations import Counted, Evaluation


def an_evaluation(**fields: Any) -> Evaluation:
    """A person's: the answer that tests/tracing/rows.py makes is good."""
    given: dict[str, Any] = {
        "id": "one",
        "ref": "answer",
        "at": "2026-01-02T00:00:00.000+00:00",
        "name": "satisfaction",
        "score": 1.0,
        "label": None,
        "source": "human",
        "evaluator": "",
        "rejected": False,
        "flow_run_id": "run",
        "flow": "inbox",
        "step": "triage",
        "tier": "fast",
        "model": "a",
        "arm": "",
        "tenant": "",
        "trace_id": None,
        "span_id": None,
    }
    return Evaluation(**(given | fields))


def counted(**fields: Any) -> Counted:
    """Ten judgements of one kind, without a score unless one is given."""
    given: dict[str, Any] = {
        "step": "triage",
        "tier": "fast",
        "model": "a",
        "arm": "",
        "name": "helpful",
        "label": None,
        "source": "judge",
        "count": 10,
        "scored": 0,
        "total": 0.0,
    }
    return Counted(**(given | fields))
