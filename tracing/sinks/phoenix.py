"""Phoenix: an evaluation as an annotation of the step's span.

Source: arize.com/docs/phoenix, REST API, `POST /v1/span_annotations` (AnnotateSpansRequestBody).
"""

from typing import Any

from ..evaluations import Evaluation
from .sink import Post, about

_KINDS = {"human": "HUMAN", "judge": "LLM", "code": "CODE"}


class Phoenix:
    """Writes annotations. The same name and identifier again changes the one that is there."""

    def post(self, evaluation: Evaluation, trace_id: str, span_id: str) -> Post:  # noqa: ARG002  # a span is enough
        """See Sink. Not `sync`: Phoenix then keeps it until the span has come."""
        said = {
            "label": evaluation.label,
            "score": evaluation.score,
            "explanation": evaluation.explanation,
        }
        annotation: dict[str, Any] = {
            "span_id": span_id,
            "name": evaluation.name,
            "annotator_kind": _KINDS[evaluation.source],
            "result": {name: value for name, value in said.items() if value is not None},
            "metadata": about(evaluation),
            "identifier": evaluation.id,
        }
        return Post("/v1/span_annotations", {"data": [annotation]}, {"sync": "false"})
