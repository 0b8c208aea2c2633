"""Evaluated: a sample of a step's answers is looked at afterwards, in the background. Decides only.

What evaluators ask is accounted for as the step "NAME (evaluation)". They hold up no answer, and
one that fails costs a log line.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..caching import Key, Later
from ..errors import TierflowError
from ..request import Answer
from ..routing import NamedTier, resolve
from ..routing.evaluators import Answered, Evaluator, Found
from ..tracing import Row
from .account import row_of
from .aside import Aside, Kind
from .ruled import rules_of
from .spec import Evaluated, StepSpec, Surroundings
from .step import Plan, Step, trail_until

_LOG = logging.getLogger("tierflow")
_HITS = {"exact", "semantic"}


def evaluator_tiers(spec: StepSpec[Any], around: Surroundings) -> Mapping[str, NamedTier]:
    """Return the tiers that a step's evaluators ask, by name. Raises what `resolve` raises."""
    names = dict.fromkeys(name for each in spec.evaluate for name in each.tiers)
    if not names:
        return {}
    rules, settings = rules_of(spec, around), around.settings
    return {name: resolve(settings.tiers, name, around.environ, rules) for name in names}


def evaluate_if_due(step: Step[Any], answer: Answer[Any]) -> Plan[None]:
    """Have an answer evaluated, if it is in an evaluator's sample."""
    is_hit = answer.cache in _HITS
    due = [
        each
        for each in step.spec.evaluate
        if (each.hits or not is_hit) and step.around.chance() < each.sample
    ]
    if due:
        row = row_of(answer, step.request, step.around.where, outcome="ok")
        for each in due:
            key = Key(f"evaluation {each.name} {answer.ref}")
            yield Later(key, _evaluated(step, each, answer, row))


def _evaluated(step: Step[Any], by: Evaluator, answer: Answer[Any], row: Row) -> Plan[None]:
    try:
        for found in (yield from found_of(step, by, answer)):
            yield Evaluated(row, found, by)
    except TierflowError as error:
        _LOG.warning("%s could not evaluate an answer of %s: %s", by.name, row.step, error)
    except Exception as error:  # noqa: BLE001  # the user's own, or another library's; the answer is given
        # Its message may quote the answer.
        where = _where(error)
        _LOG.warning(
            "%s could not evaluate an answer of %s: %s in %s.",
            by.name,
            row.step,
            type(error).__name__,
            where,
        )


def found_of(
    step: Step[Any], by: Evaluator, answer: Answer[Any], kind: Kind = "evaluation"
) -> Plan[Sequence[Found]]:
    """Return what an evaluator finds of an answer. `kind`: for what; in the ledger it says so."""
    # On a clock of its own: the answer's is over.
    step, aside = replace(step, started=step.around.clock()), Aside(kind)
    helpers = {name: step.evaluators[name] for name in by.tiers}
    deadline_s = min(
        (each.tier.deadline_s for each in helpers.values() if each.tier.deadline_s), default=None
    )
    answered: Answered[Any] = Answered(
        request=replace(step.request, step=f"{step.spec.name} ({kind})"),
        text=answer.text,
        value=answer.value,
        latency_ms=answer.latency_ms,
        tier=next((each for each in step.chain.tiers if each.name == answer.tier), None),
        helpers=helpers,
        trail=aside.trail(
            step, trail_until(deadline_s, step.around, step.started, step.trail.purse)
        ),
    )
    if not helpers:
        # What asks nobody costs nothing that a row could tell of.
        return (yield from by.find(answered))
    found: Sequence[Found] = yield aside.within(step, answer.tier, by.find(answered))
    return found


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "an unknown place"
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
