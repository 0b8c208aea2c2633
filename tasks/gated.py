"""Gated: whether a step's judge may accept, by what is proven of it, and whether that still holds.

Decides only. A gate is the judge of one step for the answers of one cheaper tier.
"""

import hashlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from ..caching import Key, Later, request_key
from ..request import Answer, Verdict, canonical_json
from ..routing import Cascade, Chain, NamedTier, Parsed, Question, ask_of, ask_tier, source_of
from ..routing.gate import (
    ALL,
    Audited,
    Binding,
    Calibration,
    Closed,
    Consult,
    ForReview,
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


def prompt_source(prompt: Callable[..., Any]) -> str:
    """Name the code of a prompt function, and the texts it takes from its module.

    A function that cannot be read as a whole has a name of its own in each process: what was
    proven of it elsewhere proves nothing.
    """
    function = inspect.unwrap(prompt)
    function = getattr(function, "__func__", function)
    try:
        code = source_of(function)
    except ValueError:
        return f"{function!r}"
    names = getattr(getattr(function, "__code__", None), "co_names", ())
    known = getattr(function, "__globals__", {})
    texts = {name: known[name] for name in names if isinstance(known.get(name), str)}
    return f"{code} {short(canonical_json(texts))}"


def binding_of(step: Step[Any], tier: NamedTier, rule: Cascade) -> Binding:
    """Return what a calibration must be of, to say something of this step's request.

    The prompt is its function's code, prefix, schema and sampling: where one of them changes, all
    is to be proven anew. A template that the prompt names stands for its prefixes. The judge is
    also who helps it, and who says that answers are the same.
    """
    chain = step.chain
    helpers = [chain.helpers[name].identity for name in rule.judge.tiers]
    judge = [rule.judge.identity, *helpers, source_of(rule.same)]
    return Binding(
        models=(models_of(tier), models_of(chain.strongest)),
        prompt=prompt_of(step),
        judge=f"{rule.judge.name} [{short(canonical_json(judge))}]",
    )


def prompt_of(step: Step[Any]) -> str:
    """Return the fingerprint of all that is the same in every prompt of a step."""
    request = step.request
    prefix = list(request.messages[: request.prefix_messages])
    whole = {
        "code": step.prompted_by,
        "prefix": {"template": request.template} if request.template else prefix,
        "schema": request.schema,
        "sampling": request.sampling.given(),
    }
    return short(canonical_json(whole))


def models_of(tier: NamedTier) -> str:
    """Return a tier's models for people, with a fingerprint of all that decides its answers."""
    models = ", ".join(each.model for each in tier.tier.deployments)
    return f"{tier.name}: {models} [{short(tier.identity)}]"


def short(text: str) -> str:
    """Return a fingerprint of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def through_gates(step: Step[Any]) -> Plan[tuple[Chain, Sequence[Verdict]]]:
    """Return the chain without the tiers whose answers nobody may accept, and a verdict on each."""
    chain, rule, around = step.chain, step.chain.rule, step.around
    if rule is None or rule.max_loss is None:
        return chain, ()
    decisions = dict[str, Open | Closed]()
    verdicts, proofs = list[Verdict](), list[str]()
    for tier in chain.tiers[:-1]:
        gate = gate_of(step.spec.name, tier.name)
        known: Known = (yield Consult(gate)) or Known()
        bound_to = binding_of(step, tier, rule)
        decision = _decided(known, bound_to, rule, around, step.request.stratum)
        decisions[tier.name] = decision
        proof = None if known.calibration is None else known.calibration.id
        if proof is not None:
            proofs.append(proof)
        if isinstance(decision, Closed):
            said, run, now = decision.reason, around.where.flow_run_id, around.now()
            reason = f"{tier.name}: {said}"
            verdicts.append(Verdict("gate", 0.0, accepted=False, reason=reason))
            yield TellClosed(gate, decision.cause, said, run, now, proof)
    return chain.through(decisions, proofs), verdicts


def _decided(
    known: Known, bound_to: Binding, rule: Cascade, around: Surroundings, stratum: str
) -> Open | Closed:
    found = decide(
        known.calibration,
        bound_to,
        around.now(),
        rule.max_age_s,
        stratum=stratum or None,
        state=known.state,
    )
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
    """Have the strongest tier answer, too, or people look, for a sample of what was accepted."""
    chain, rule = step.chain, step.chain.rule
    if rule is None or chain.lines is None or step.trail.tier == chain.strongest.name:
        return
    if step.around.chance() < rule.audit:
        key = request_key(step.request, ("audit", *step.route))
        gate, at = gate_of(step.spec.name, step.trail.tier), step.around.now()
        audit = _for_people if rule.audit_by == "people" else _by_strongest
        yield Later(Key(key), audit(step, gate, parsed, at))


def _for_people(step: Step[T], gate: str, accepted: Parsed[T], at: float) -> Plan[None]:
    stratum = step.request.stratum or ALL
    yield ForReview(gate, stratum, at, ask_of(step.request), accepted.reply.text)


def _by_strongest(step: Step[T], gate: str, accepted: Parsed[T], at: float) -> Plan[None]:
    name = f"{step.spec.name} (audit)"
    spec, request = replace(step.spec, name=name), replace(step.request, step=name)
    again = replace(step, spec=spec, request=request).anew()
    answer: Answer[T] = yield again.within(_strongest(again))
    rule = step.chain.rule
    if rule is not None:
        stratum = step.request.stratum or ALL
        yield Audited(gate, rule.agree(accepted.value, answer.value), at, stratum)


def _strongest(step: Step[T]) -> Plan[Answer[T]]:
    question: Question[Any] = Question(step.request, step.spec.returns.read, step.trail)
    parsed = yield from ask_tier(question, step.chain.strongest)
    return answer_of(parsed, step.request, step.trail, "off", step.around.settings.tiers)
