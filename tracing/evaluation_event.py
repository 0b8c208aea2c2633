"""Evaluation event: what somebody found of an answer, told to OpenTelemetry, also days later.

A span that has ended cannot be changed: the event is put in its context, rebuilt from its ids.
"""

import time
from collections.abc import Mapping
from functools import cache

from opentelemetry import _logs, metrics, trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.metrics import Counter, Histogram
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from . import names

_BUCKETS = tuple(tenth / 10 for tenth in range(1, 11))


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
    `labels`: of the answer; its step goes on the metrics, with name and label.
    """
    said: dict[str, str | float] = {names.EVALUATION: name}
    optional = {
        names.EVALUATION_SCORE: score,
        names.EVALUATION_LABEL: label,
        names.EVALUATION_EXPLANATION: explanation,
        names.RESPONSE_ID: response_id,
    }
    said.update({key: value for key, value in optional.items() if value is not None})
    _logs.get_logger("tierflow").emit(
        LogRecord(
            timestamp=time.time_ns(),
            context=_context(trace_id, span_id),
            severity_number=SeverityNumber.INFO,
            attributes=said,
            event_name=names.EVALUATION_EVENT,
        )
    )
    known = {
        names.EVALUATION: name,
        names.EVALUATION_LABEL: label or "",
        names.STEP: labels.get(names.STEP, ""),
    }
    told = {key: value for key, value in known.items() if value}
    _count().add(1, told)
    if score is not None:
        _scores().record(score, told)


def _context(trace_id: str | None, span_id: str | None) -> Context:
    if not trace_id or not span_id:
        return Context()
    known = SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(1)
    )
    return trace.set_span_in_context(NonRecordingSpan(known), Context())


@cache
def _count() -> Counter:
    return metrics.get_meter("tierflow").create_counter(
        "tierflow.evaluations", "{evaluation}", "Evaluations; one label among all is a rate."
    )


@cache
def _scores() -> Histogram:
    return metrics.get_meter("tierflow").create_histogram(
        "tierflow.evaluation.score",
        "1",
        "What evaluations scored.",
        explicit_bucket_boundaries_advisory=_BUCKETS,
    )
