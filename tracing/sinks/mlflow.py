"""MLflow: an evaluation as feedback on the step's trace.

Source: mlflow.org/docs, REST API, `POST /api/3.0/mlflow/traces/{trace_id}/assessments`
(CreateAssessment). MLflow names a trace that came by OTLP "tr-" and its hex id.
"""

from typing import Any

from ..evaluations import Evaluation
from .sink import Post, about

_SOURCES = {"human": "HUMAN", "judge": "LLM_JUDGE", "code": "CODE"}
_NOT_FOUND = 404


class MLflow:
    """Writes feedback. MLflow names assessments itself: one that is sent twice is there twice."""

    def post(self, evaluation: Evaluation, trace_id: str, span_id: str) -> Post:
        """See Sink. A label beside a score goes into the metadata: feedback has one value."""
        score, further = evaluation.score, {**about(evaluation), "tierflow.id": evaluation.id}
        if score is not None and evaluation.label is not None:
            further["tierflow.label"] = evaluation.label
        of_trace = f"tr-{trace_id}"
        assessment: dict[str, Any] = {
            "assessment_name": evaluation.name,
            "trace_id": of_trace,
            "span_id": span_id,
            "source": {
                "source_type": _SOURCES[evaluation.source],
                "source_id": evaluation.evaluator or "default",
            },
            "create_time": evaluation.at,
            "last_update_time": evaluation.at,
            "feedback": {"value": evaluation.label if score is None else score},
            "metadata": further,
        }
        if evaluation.explanation is not None:
            assessment["rationale"] = evaluation.explanation
        return Post(
            f"/api/3.0/mlflow/traces/{of_trace}/assessments",
            {"assessment": assessment},
            passing=frozenset({_NOT_FOUND}),
        )
