"""Evaluation: the way in for whoever has something to say of an answer, now or days later."""

import getpass
from typing import Any

from ..errors import EvaluationError
from ..request import Answer
from ..tracing.evaluations import Evaluation, Source
from .hands import hands


def record_evaluation(
    answer_or_ref: Answer[Any] | str,
    name: str,
    *,
    score: float | None = None,
    label: str | None = None,
    explanation: str | None = None,
    source: Source = "human",
    evaluator: str | None = None,
    reject: bool = False,
) -> Evaluation:
    """Record what was found of an answer: in the run that gave it, or by its `ref` days later.

    `name`: of what was looked at: "satisfaction", "helpful". `score`: 0-1, higher is better;
    `label`: one of few words, such as "pass"; at least one of both. `explanation`: why; it stays in
    the ledger's database, sealed where the cache is, and goes to no event unless content capture
    is on, and to no sink unless its settings say so. `evaluator`: who; what the same one says of an
    answer later counts instead. None: whoever runs the process, or for a judge or code the
    evaluation's name; name people where one process records what many of them say. `reject`: take
    the answer back, as `Answer.reject` does; a score below `evaluations.reject_below` does so, too.

    It becomes a row beside the ledger's, a `gen_ai.evaluation.result` event on the answer's span,
    and metrics; it goes to the sinks of the settings in the background. Waits for a write; in a
    busy event loop call it through `asyncio.to_thread`. Raises EvaluationError for an answer that
    the ledger does not know, and for what cannot be kept; StoreError where the store cannot be
    used.
    """
    mine = hands()
    ref = answer_or_ref.ref if isinstance(answer_or_ref, Answer) else answer_or_ref
    row = mine.ledger.find(ref) if ref else None
    if row is None:
        raise EvaluationError(
            f"The ledger knows no answer {ref!r:.60}. Give an Answer, or the `ref` of one, that "
            "was given with this store: the same TIERFLOW_HOME or TIERFLOW_STORE_URL."
        )
    return mine.recorder.enter(
        row,
        name,
        score=score,
        label=label,
        explanation=explanation,
        source=source,
        evaluator=_usual(source, name) if evaluator is None else evaluator,
        reject=reject,
    )


def _usual(source: Source, name: str) -> str:
    """Return who evaluates where nobody is named, as `tierflow feedback` names people."""
    if source != "human":
        return name
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):
        # In a container nobody may have a name.
        return ""
