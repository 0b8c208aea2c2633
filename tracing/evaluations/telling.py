"""Telling: an evaluation as an event and as metrics. What people and models wrote stays out."""

import os

from ...settings import settings
from .. import names
from ..evaluation_event import emit_evaluation
from .evaluation import Evaluation

_CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_TO_EVENTS = {"EVENT_ONLY", "SPAN_AND_EVENT"}


def tell(evaluation: Evaluation, response_id: str | None) -> None:
    """Tell OpenTelemetry of an evaluation. `response_id`: the provider's, of the answer's reply."""
    of_answer = {
        names.FLOW: evaluation.flow or "",
        names.STEP: evaluation.step,
        names.TIER: evaluation.tier,
        names.ARM: evaluation.arm,
        names.TENANT: evaluation.tenant,
    }
    emit_evaluation(
        evaluation.name,
        evaluation.score,
        evaluation.label,
        evaluation.explanation if _captures_events() else None,
        evaluation.trace_id,
        evaluation.span_id,
        response_id,
        of_answer,
    )


def _captures_events() -> bool:
    """Tell whether content was asked for in events: an explanation may quote the answer."""
    asked = settings().telemetry.capture_content or os.environ.get(_CAPTURE, "")
    return asked.strip().upper() in _TO_EVENTS
