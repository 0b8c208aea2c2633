"""Recorder: what becomes of an evaluation in this process: a row, an event, metrics, and sinks."""

import os
import uuid
from datetime import UTC, datetime

from ..caching import AnswerStore
from ..caching.similar import SimilarCache
from ..rollouts.enrolling import Enrolling
from ..settings import Settings
from ..tracing import Row
from ..tracing.evaluations import Evaluation, Source, evaluation_of, open_evaluations, tell
from ..tracing.sinks import open_sinks
from .rejection import Rejection


class Recorder:
    """Takes evaluations in. Opens nothing before the first.

    `answers`, `similar`: the caches that an answer may be taken out of. `rollouts`: whose arms'
    answers are evaluated.
    """

    def __init__(
        self,
        settings: Settings,
        answers: AnswerStore,
        similar: SimilarCache,
        rollouts: Enrolling,
    ) -> None:
        self._answers, self._similar, self._rollouts = answers, similar, rollouts
        self._reject_below = settings.evaluations.reject_below
        self._store = open_evaluations(settings)
        self._sinks = open_sinks(settings.evaluations.sinks, os.environ)

    def enter(
        self,
        row: Row,
        name: str,
        *,
        score: float | None = None,
        label: str | None = None,
        explanation: str | None = None,
        source: Source = "human",
        evaluator: str = "",
        reject: bool = False,
    ) -> Evaluation:
        """Take in what was found of the answer that a row is about.

        `reject`: take the answer out of the caches; a score below the settings' line does so, too.
        Raises EvaluationError, StoreError.
        """
        evaluation = evaluation_of(
            row,
            name,
            id_=uuid.uuid4().hex,
            at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            score=score,
            label=label,
            explanation=explanation,
            source=source,
            evaluator=evaluator,
            rejected=row.rejection is not None and (reject or self._is_too_bad(name, score)),
        )
        if evaluation.rejected and row.rejection is not None:
            # First: whoever hears of an error says it again, and to take back twice does no harm.
            Rejection.read(row.rejection).take_back(self._answers, self._similar)
        self._store.add(evaluation)
        if evaluation.arm and evaluation.score is not None:
            rollout = evaluation.arm.rpartition("/")[0]
            self._rollouts.score(rollout, evaluation.ref, evaluation.name, evaluation.score)
        tell(evaluation, row.response_id)
        self._sinks.send(evaluation)
        return evaluation

    def close(self) -> None:
        """Send what waits, and close the store; the next use opens it again."""
        self._sinks.close()
        self._store.close()

    def _is_too_bad(self, name: str, score: float | None) -> bool:
        line = self._reject_below.get(name)
        return line is not None and score is not None and score < line
