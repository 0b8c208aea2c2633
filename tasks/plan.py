"""Plan: the life of one step, top to bottom. Decides only; drive.py carries out what it yields.

1. pick the rollout's arm (enrolled.py), and resolve the tiers: a wrong configuration fails before
   any call
2. render the prompt, build the request, find the budgets that hold for it
3. leave out the cheaper tiers whose answers no judge has proven it can tell apart (gated.py), or
   go by what was learned of the step's route (routed.py)
4. exact cache, then the similar-question cache: a hit ends here (cached.py)
5. ask the cheapest tier, judge, accept or escalate; a reply that does not parse is a failure
6. store, trace, account (step.py)
7. have a sample of the answers evaluated, in the background (evaluated.py)
"""

from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from ..caching import SemanticCache
from ..prompting import NamedPrompt
from ..request import Answer, Request, render
from ..rollouts import Variant
from ..rollouts.enrolment import Enrolment
from ..routing import Chain, resolve
from .cached import cached_or_asked
from .enrolled import enrolled, observed, variant_of, varied
from .evaluated import evaluate_if_due, evaluator_tiers
from .gated import prompt_source, through_gates
from .routed import through_route
from .ruled import rules_of
from .shadowed import shadow_if_due
from .spec import Render, StepSpec, Surroundings
from .step import Plan, Step, new_trail, purse_for, reads_items

T = TypeVar("T")


def step_plan(spec: StepSpec[T], around: Surroundings) -> Plan[Answer[T]]:
    """Answer one step. Raises ConfigError before anything is asked, else what its tiers raise."""
    arm = yield from enrolled(spec, around)
    answer: Answer[T] = yield from observed(arm, around, lambda: _answered(spec, around, arm))
    return answer


def _answered(spec: StepSpec[T], around: Surroundings, arm: Enrolment | None) -> Plan[Answer[T]]:
    label = "" if arm is None else arm.label
    step = yield from begun(spec, around, label, variant_of(spec, around, arm))
    through = through_gates if step.spec.route is None else through_route
    chain, verdicts = yield from through(step)
    step = replace(step, chain=chain)
    step.trail.verdicts.extend(verdicts)
    answer: Answer[T] = yield step.within(cached_or_asked(step))
    yield from evaluate_if_due(step, answer)
    yield from shadow_if_due(step, arm, answer, partial(_in_shadow, spec, around))
    return answer


def _in_shadow(spec: StepSpec[T], around: Surroundings, arm: Enrolment) -> Plan[Step[T]]:
    """Begin the candidate's step beside the baseline's: uncached, and nobody listens."""
    unheard = replace(spec, cache=None, on_chunk=None, evaluate=(), budget_usd=None)
    step = yield from begun(unheard, around, arm.label, variant_of(spec, around, arm))
    chain, verdicts = yield from through_gates(step)
    step.trail.verdicts.extend(verdicts)
    return replace(step, chain=chain)


def begun(
    spec: StepSpec[T], around: Surroundings, arm: str = "", variant: Variant | None = None
) -> Plan[Step[T]]:
    """Return a step with its tiers resolved and its prompt rendered; nothing is asked yet."""
    started, variant = around.clock(), variant or Variant()
    spec = varied(spec, variant)
    chain, asked = _chain(spec, variant, around), evaluator_tiers(spec, around)
    rendered = render((yield Render(variant.prompt)), spec.returns.write)
    request = Request(
        step=spec.name,
        messages=rendered.messages,
        prefix_messages=rendered.prefix_messages,
        schema=spec.returns.schema,
        sampling=spec.sampling,
        logprobs=spec.cascade is not None and spec.cascade.judge.logprobs,
        item=rendered.item if reads_items(chain) else None,
        tenant=rendered.tenant,
        arm=arm,
        stratum=rendered.stratum,
        template=rendered.template,
        prompt_id=rendered.prompt_id,
    )
    tiers = (*chain.tiers, *chain.helpers.values(), *asked.values())
    budgets = around.settings.budgets
    purse = purse_for(
        budgets, spec.budget_usd, tiers, around, name=spec.name, tenant=rendered.tenant
    )
    trail = new_trail(spec, chain, around, started, purse)
    # A named prompt is asked by the step's own function.
    other = None if isinstance(variant.prompt, NamedPrompt) else variant.prompt
    source = prompt_source(other) if other else spec.prompted_by
    return Step(
        spec=spec,
        around=around,
        chain=chain,
        request=request,
        started=started,
        volatile=rendered.volatile,
        trail=trail,
        prompted_by=source,
        evaluators=asked,
    )


def _chain(spec: StepSpec[Any], variant: Variant, around: Surroundings) -> Chain:
    rule, first, stronger = spec.cascade, variant.tier or spec.tier, spec.stronger
    if first in stronger:
        # A candidate that starts further up has that much less to escalate to.
        stronger = stronger[stronger.index(first) + 1 :]
    helpers = rule.judge.tiers if rule else ()
    if isinstance(spec.cache, SemanticCache) and spec.cache.judge is not None:
        helpers = (*helpers, spec.cache.judge)
    names = (first, *stronger)
    rules = rules_of(spec, around)
    catalogue, environ = around.settings.tiers, around.environ
    tiers = {name: resolve(catalogue, name, environ, rules) for name in (*names, *helpers)}
    in_order = [tiers[name] for name in names]
    if variant.model is not None:
        in_order[0] = resolve(catalogue, first, environ, rules, model=variant.model)
    return Chain(in_order, {name: tiers[name] for name in helpers}, rule)
