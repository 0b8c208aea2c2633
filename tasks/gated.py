"""Gated: whether a step's judge may accept, by what is proven of it, and whether that still holds.

Decides only. A gate is the judge of one step for the answers of one cheaper tier.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

from ..caching import Key, Later, request_key
from ..request import Answer, Request, Verdict, canonical_json
from ..routing import Cascade, Chain, NamedTier, Parsed, Question, ask_tier
from ..routing.gate import (
    Audited,
    Binding,
    Calibration,
    Closed,
    Consult,
    Known,
    Open,
    TellClosed,
    decide,
)
from .account import answer_of
from .spec import Surroundings
from .step import Plan, Step

T = TypeVar("T")


def gate_of(step: str, tier: str) -> str:
    """Return the name under which a step's judge is known for a cheaper tier's answers."""
    return f"{step}@{tier}"


def binding_of(request: Request, tier: NamedTier, strongest: NamedTier, rule: Cascade) -> Binding:
    """Return what a calibration must be of, to say something of this request.

    The prompt is its prefix, schema and sampling: where the prefix changes, all is to be proven
    anew.
    """
    prompt = {
        "prefix": list(request.messages[: request.prefix_messages]),
        "schema": request.schema,
        "sampling": request.sampling.given(),
    }
    return Binding(
        models=(_models(tier), _models(strongest)),
        prompt=_short(canonical_json(prompt)),
        judge=rule.judge.identity,
    )


def _models(tier: NamedTier) -> str:
    models = ", ".join(each.model for each in tier.tier.deployments)
    return f"{tier.name}: {models} [{_short(tier.identity)}]"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def through_gates(
    chain: Chain, request: Request, around: Surroundings
) -> Plan[tuple[Chain, Sequence[Verdict]]]:
    """Return the chain without the tiers whose answers nobody may accept, and a verdict on each."""
    rule = chain.rule
    if rule is None or rule.max_loss is None:
        return chain, ()
    decisions = dict[str, Open | Closed]()
    verdicts = list[Verdict]()
    for tier in chain.tiers[:-1]:
        gate = gate_of(request.step, tier.name)
        known: Known = (yield Consult(gate)) or Known()
        decision = _decided(known, binding_of(request, tier, chain.strongest, rule), rule, around)
        decisions[tier.name] = decision
        if isinstance(decision, Closed):
            reason = f"{tier.name}: {decision.reason}"
            verdicts.append(Verdict("gate", 0.0, accepted=False, reason=reason))
            yield TellClosed(gate, decision.cause, decision.reason, around.where.flow_run_id)
    return chain.through(decisions), verdicts


def _decided(known: Known, bound_to: Binding, rule: Cascade, around: Surroundings) -> Open | Closed:
    found = decide(known.calibration, bound_to, around.now(), rule.max_age_s, state=known.state)
    calibration = known.calibration
    if isinstance(found, Open) and calibration is not None and not _promises(calibration, rule):
        return Closed(
            "foreign",
            f"Proven is a loss of {calibration.max_loss:.2%} at most, with confidence "
            f"{calibration.confidence:g}; the cascade asks for {rule.max_loss:.2%} and "
            f"{rule.confidence:g}. Run `tierflow judge calibrate`.",
        )
    return found


def _promises(calibration: Calibration, rule: Cascade) -> bool:
    asked = rule.max_loss or 0.0
    return calibration.max_loss <= asked and calibration.confidence >= rule.confidence


def audit_if_due(step: Step[T], parsed: Parsed[T]) -> Plan[None]:
    """Have the strongest tier answer, too, in the background, for a sample of what was accepted."""
    chain, rule = step.chain, step.chain.rule
    if rule is None or chain.lines is None or step.trail.tier == chain.strongest.name:
        return
    if step.around.chance() < rule.audit:
        key = request_key(step.request, ("audit", *step.route))
        gate, at = gate_of(step.spec.name, step.trail.tier), step.around.now()
        yield Later(Key(key), _audited(step, gate, parsed.value, at))


def _audited(step: Step[T], gate: str, accepted: T, at: float) -> Plan[None]:
    name = f"{step.spec.name} (audit)"
    spec, request = replace(step.spec, name=name), replace(step.request, step=name)
    again = replace(step, spec=spec, request=request).anew()
    answer: Answer[T] = yield again.within(_strongest(again))
    rule = step.chain.rule
    if rule is not None:
        yield Audited(gate, rule.agree(accepted, answer.value), at)


def _strongest(step: Step[T]) -> Plan[Answer[T]]:
    question: Question[Any] = Question(step.request, step.spec.returns.read, step.trail)
    parsed = yield from ask_tier(question, step.chain.strongest)
    return answer_of(parsed, step.request, step.trail, "off", step.around.settings.tiers)
