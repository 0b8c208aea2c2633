"""Shadowed: the candidate is asked beside the baseline, in the background. Decides only.

Whoever called the step has the baseline's answer by then, and waits for nothing. Only the
candidate's prompt function and its models are called: the rest of the flow runs once. What that
costs is the step "NAME (shadow)".
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias, TypeVar

from ..budgets import Budget
from ..caching import Key, Later
from ..errors import BudgetExhaustedError, ConfigError, TierflowError
from ..request import Answer
from ..rollouts.enrolment import Compare, Enrolment, MayShadow
from ..rollouts.observations import Observation, PairSeen
from ..routing import Question, run_chain
from ..routing.budgets import Purse
from .account import answer_of
from .aside import Aside
from .enrolled import HITS, shown_by
from .evaluated import found_of
from .step import Plan, Step, purse_for, trail_until

T = TypeVar("T")
Begin: TypeAlias = Callable[[Enrolment], Plan[Step[T]]]
_LOG = logging.getLogger("tierflow")


def shadow_if_due(
    step: Step[T], arm: Enrolment | None, answer: Answer[T], begin: Begin[T]
) -> Plan[None]:
    """Have the candidate asked as well, if its rollout is in the shadow and the call in the sample.

    `begin`: begins the step of an arm.
    """
    if arm is None or arm.shadow is None or answer.cache in HITS:
        return
    if step.around.chance() >= arm.shadow.share:
        return
    if (yield MayShadow(arm.rollout, arm.shadow.rpm)):
        yield Later(Key(f"shadow {arm.rollout} {answer.ref}"), _shadowed(step, arm, answer, begin))


def _shadowed(step: Step[T], arm: Enrolment, answer: Answer[T], begin: Begin[T]) -> Plan[None]:
    ours, theirs = shown_by(answer, arm, step.around.now()), arm.other
    try:
        other: Answer[T] = yield from _asked(arm, begin)
    except (BudgetExhaustedError, ConfigError) as error:
        # There is no pair, and nothing to hold against the candidate.
        _LOG.warning("The candidate of %r was not asked in the shadow: %s", arm.rollout, error)
        return
    except TierflowError:
        seen = Observation(
            theirs.unit,
            theirs.arm,
            theirs.epoch,
            step.around.new_ref(),
            step.around.now(),
            failed=True,
        )
        yield Compare(arm.rollout, PairSeen(ours, seen, same=False, said=(answer.text, "")))
        return
    seen = replace(shown_by(other, theirs, step.around.now()), ref=step.around.new_ref())
    yield Compare(
        arm.rollout,
        PairSeen(
            replace(ours, scores=(yield from _scores(step, arm, answer))),
            replace(seen, scores=(yield from _scores(step, arm, other))),
            same=answer.value == other.value,
            said=(answer.text, other.text),
        ),
    )


def _asked(arm: Enrolment, begin: Begin[T]) -> Plan[Answer[T]]:
    step, aside = (yield from begin(arm.other)), Aside("shadow")
    deadline_s = step.chain.tiers[0].tier.deadline_s
    trail = trail_until(deadline_s, step.around, step.around.clock(), _purse(step, arm))
    step = replace(step, started=step.around.clock(), trail=aside.trail(step, trail))
    answer: Answer[T] = yield aside.within(step, step.chain.tiers[0].name, _chained(step))
    return replace(answer, latency_ms=step.latency_ms)


def _purse(step: Step[Any], arm: Enrolment) -> Purse | None:
    """Return what the shadow is paid from: budgets that hold for it, and its rollout's own."""
    name, usd = f"{step.spec.name} (shadow)", arm.shadow.usd_a_day if arm.shadow else None
    own = () if usd is None else (Budget(usd=usd, per="day", step=name),)
    budgets = (*step.around.settings.budgets, *own)
    tiers = (*step.chain.tiers, *step.chain.helpers.values())
    return purse_for(budgets, None, tiers, step.around, name=name, tenant=step.request.tenant)


def _chained(step: Step[T]) -> Plan[Answer[T]]:
    question = Question(step.request, step.spec.returns.read, step.trail)
    parsed = yield from run_chain(question, step.chain)
    return answer_of(parsed, step.request, step.trail, "off", step.around.settings.tiers)


def _scores(step: Step[T], arm: Enrolment, answer: Answer[T]) -> Plan[Mapping[str, float]]:
    """Have both arms' answers looked at by the same evaluators, those of the rollout's metrics."""
    scores = dict[str, float]()
    wanted = arm.shadow.evaluations if arm.shadow else ()
    for by in step.spec.evaluate:
        if by.name not in wanted:
            continue
        try:
            found: Any = yield from found_of(step, by, answer, "shadow")
        except TierflowError as error:
            _LOG.warning("%s could not compare the arms of %r: %s", by.name, arm.rollout, error)
        else:
            scores |= {each.name: each.score for each in found if each.score is not None}
    return scores
