"""Evaluation event: what somebody found of an answer, told to OpenTelemetry, also days later.

A span that has ended cannot be changed: the event is put in its context, rebuilt from its ids.
"""

import time
from collections.abc import Mapping
from functools import cache

from opentelemetry import _logs, trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from ..settings import settings
from . import names
from .content import captured_text
from .instruments import record


def emit_evaluation(  # noqa: PLR0917  # they are told apart by their names
    name: str,
    score: float | None,
    label: str | None,
    explanation: str | None,
    trace_id: str | None,
    span_id: str | None,
    response_id: str | None,
    labels: Mapping[str, str],
) -> None:
    """Emit a `gen_ai.evaluation.result` event, and count it.

    `trace_id`, `span_id`: of the span that is evaluated, hex as in the ledger; None for none.
    `labels`: what the metrics are told apart by, of `names.LABELS`; a tenant only if the settings
    say so. The explanation goes through the redaction hook and is cut as captured content is.
    """
    telemetry = settings().telemetry
    said: dict[str, str | float] = {names.EVALUATION: name}
    if score is not None:
        said[names.EVALUATION_SCORE] = float(score)
    if label is not None:
        said[names.EVALUATION_LABEL] = label
    if explanation and (kept := captured_text(explanation, telemetry)):
        said[names.EVALUATION_EXPLANATION] = kept
    if response_id is not None:
        said[names.RESPONSE_ID] = response_id
    _logger().emit(
        LogRecord(
            timestamp=time.time_ns(),
            context=_context(trace_id, span_id),
            severity_number=SeverityNumber.INFO,
            attributes=said,
            event_name=names.EVALUATION_EVENT,
        )
    )
    told = {**labels, names.EVALUATION: name, names.EVALUATION_LABEL: label or ""}
    if not telemetry.tenant_label:
        told.pop(names.TENANT, None)
    record(names.EVALUATION_COUNT, 1, told)
    if score is not None:
        record(names.EVALUATION_SCORES, float(score), told)


def _context(trace_id: str | None, span_id: str | None) -> Context:
    if not trace_id or not span_id:
        return Context()
    known = SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(1)
    )
    return trace.set_span_in_context(NonRecordingSpan(known), Context())


@cache
def _logger() -> _logs.Logger:
    return _logs.get_logger(names.SCOPE, schema_url=names.SCHEMA_URL)
