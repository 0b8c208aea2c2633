"""Dialects: what single backends want to read beside the conventions. Values only, no I/O.

The conventions have no cost, no session and no kind for a step. Without a dialect nothing of it is
emitted. Sources: github.com/langfuse/langfuse (its OTLP ingestion), Phoenix 20.26.1 and MLflow
3.17.2, each of which took it.
"""

import json
from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from ..telemetry_settings import Dialect
from . import names

Attributes = Mapping[str, str | bool | int | float]


def of_span(attributes: Attributes, dialects: Collection[Dialect]) -> dict[str, str]:
    """Say what a flow run's, step's or judge's span is, and which session it is of: the flow run.

    Retries of a flow run, and one that was suspended, are several traces of one session.
    """
    kind = "EVALUATOR" if names.JUDGE in attributes else "CHAIN"
    said = dict[str, str]()
    if "langfuse" in dialects:
        said[names.LANGFUSE_TYPE] = kind.lower()
    if "phoenix" in dialects or "mlflow" in dialects:
        said[names.SPAN_KIND] = kind
    if dialects and (flow_run_id := attributes.get(names.FLOW_RUN_ID)):
        said[names.SESSION] = str(flow_run_id)
    return said


def of_call(
    cost_usd: float | None,
    first_token_ns: int | None,
    dialects: Collection[Dialect],
) -> dict[str, str]:
    """Say what a model call cost, and when its first token came, where that is read.

    `cost_usd`: None is said nowhere, and the backend goes by its own prices. `first_token_ns`:
    since the epoch, None for a reply that came whole. Phoenix takes no cost.
    """
    said = dict[str, str]()
    if "langfuse" in dialects:
        if cost_usd is not None:
            said[names.LANGFUSE_COST] = json.dumps({"total": cost_usd})
        if first_token_ns is not None:
            at = datetime.fromtimestamp(first_token_ns / 1e9, UTC)
            said[names.LANGFUSE_FIRST_AT] = at.isoformat(timespec="milliseconds")
    if "mlflow" in dialects and cost_usd is not None:
        said[names.MLFLOW_COST] = json.dumps({"total_cost": cost_usd})
    return said
