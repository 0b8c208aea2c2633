"""Langfuse: an evaluation as a score of the step's observation.

Source: langfuse.com/docs, public API, `POST /api/public/scores` (CreateScoreRequest).
"""

from typing import Any

from ..evaluations import Evaluation
from .sink import Post, about


class Langfuse:
    """Writes scores. The same id again changes the score that is there."""

    def post(self, evaluation: Evaluation, trace_id: str, span_id: str) -> Post:
        """See Sink. A label beside a score goes into the metadata: a score has one value."""
        score, further = evaluation.score, dict[str, str](about(evaluation))
        if score is not None and evaluation.label is not None:
            further["tierflow.label"] = evaluation.label
        body: dict[str, Any] = {
            "id": evaluation.id,
            "traceId": trace_id,
            "observationId": span_id,
            "name": evaluation.name,
            "value": evaluation.label if score is None else score,
            "dataType": "CATEGORICAL" if score is None else "NUMERIC",
            "timestamp": evaluation.at,
            "metadata": further,
        }
        if evaluation.explanation is not None:
            body["comment"] = evaluation.explanation
        return Post("/api/public/scores", body)
