"""Evaluation: what a person, a judge or a function found of one answer. A value, kept elsewhere."""

import re
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from ...errors import EvaluationError
from ..ledger import Row

Source: TypeAlias = Literal["human", "judge", "code"]
"""Who evaluates: people, a model that judges, or a function."""

_WORD = re.compile(r"\w[\w .:/()-]{0,63}")
_MOST_LETTERS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What was found of one answer. `id`: names it, so that it counts once where it arrives twice.

    `at`: ISO time in UTC. `score`: 0-1, higher is better. `label`: one of few words, such as
    "pass". `evaluator`: who, in a few words; what the same one finds of an answer later counts
    instead. `explanation`: may quote the answer, so it stays in the store. `rejected`: it took the
    answer out of the caches. The others are those of the answer's row in the ledger.
    """

    id: str
    ref: str
    at: str
    name: str
    score: float | None
    label: str | None
    source: Source
    evaluator: str
    rejected: bool
    flow_run_id: str | None
    flow: str | None
    step: str
    tier: str
    model: str
    arm: str
    tenant: str
    trace_id: str | None
    span_id: str | None
    explanation: str | None = field(default=None, repr=False)


def evaluation_of(
    row: Row,
    name: str,
    *,
    id_: str,
    at: str,
    score: float | None = None,
    label: str | None = None,
    explanation: str | None = None,
    source: Source = "human",
    evaluator: str = "",
    rejected: bool = False,
) -> Evaluation:
    """Return the evaluation of the answer that a row is about. Raises EvaluationError."""
    _check_words(name, label, evaluator)
    if source not in get_args(Source):
        known = ", ".join(get_args(Source))
        raise EvaluationError(f"source is {source!r:.60}. Give one of {known}.")
    if score is None and label is None:
        raise EvaluationError(f"The evaluation {name!r} says nothing. Give a score, or a label.")
    return Evaluation(
        id=id_,
        ref=row.ref,
        at=at,
        name=name,
        score=None if score is None else _checked(score),
        label=label,
        source=source,
        evaluator=evaluator,
        rejected=rejected,
        flow_run_id=row.flow_run_id,
        flow=row.flow,
        step=row.step,
        tier=row.tier,
        model=row.model,
        arm=row.arm,
        tenant=row.tenant,
        trace_id=row.trace_id,
        span_id=row.span_id,
        explanation=explanation,
    )


def is_word(text: object) -> bool:
    """Tell whether a text may name an evaluation, or be its label: a word or a few, no sentence."""
    return isinstance(text, str) and _WORD.fullmatch(text) is not None


def _check_words(name: object, label: object, evaluator: object) -> None:
    # They stand on metrics and in other programs' pages: few of each, and no sentence of anybody's.
    for what, word in (("name", name), ("label", label)):
        is_left_out = word is None and what == "label"
        if not is_left_out and not is_word(word):
            raise EvaluationError(
                f"{what} is {word!r:.60}. Give a word or a few, of 64 letters at most, from a "
                "small set; what you want to say in sentences is the explanation."
            )
    if not isinstance(evaluator, str) or not (evaluator + "-").isprintable():
        raise EvaluationError(f"evaluator is {evaluator!r:.60}. Give a name in one line, or none.")
    if len(evaluator) > _MOST_LETTERS:
        raise EvaluationError(
            f"evaluator has {len(evaluator):,} letters. Give a name of {_MOST_LETTERS} at most."
        )


def _checked(score: object) -> float:
    if isinstance(score, int | float) and 0 <= score <= 1:
        return float(score)
    raise EvaluationError(
        f"score is {score!r:.60}, but goes from 0 to 1, the best. Divide stars by five, say."
    )
