"""Routed: whether a step's route may be taken, by what was learned for it. Decides only."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..request import Verdict, canonical_json
from ..routing import Chain, NamedTier, OpenRoute, Route, Tell, source_of
from ..routing.expecting import expected_usage
from ..routing.gate import Binding, Closed
from ..routing.gate.decision import changed, overdue
from ..routing.routes import ConsultRoute
from ..tracing import first_priced
from .gated import models_of, prompt_of, short
from .step import Plan, Step

if TYPE_CHECKING:
    from ..routing.routes.learned import LearnedRoute

_REMEDY = "Run `tierflow route learn`"


def route_binding(step: Step[Any], rule: Route) -> Binding:
    """Return what a route must have been learned from, to say something of this step's request."""
    return Binding(
        models=tuple(models_of(tier) for tier in step.chain.tiers),
        prompt=prompt_of(step),
        judge=f"same [{short(source_of(rule.same))}]",
    )


def through_route(step: Step[Any]) -> Plan[tuple[Chain, Sequence[Verdict]]]:
    """Return the chain with its route in force, or else one tier of it, and why."""
    chain, rule, around = step.chain, step.spec.route, step.around
    if rule is None:
        return chain, ()
    learned: LearnedRoute | None = yield ConsultRoute(step.spec.name)
    decision = _decided(learned, step, rule)
    if isinstance(decision, OpenRoute):
        return replace(chain, route=decision), ()
    tier = chain.strongest if rule.budget_usd is None else _within(step, rule.budget_usd)
    reason = f"{decision.reason} Tier {tier.name!r} answers."
    yield Tell("route-closed", step.spec.name, reason, around.where.flow_run_id)
    return replace(chain, tiers=[tier]), (Verdict("route", 0.0, accepted=False, reason=reason),)


def _decided(learned: "LearnedRoute | None", step: Step[Any], rule: Route) -> OpenRoute | Closed:
    if learned is None:
        return Closed("missing", f"Nothing was learned of the route. {_REMEDY}.")
    if what := changed(learned.bound_to, route_binding(step, rule)):
        said = f"The route was learned for another {what} than in use now."
        return Closed("foreign", f"{said} {_REMEDY}.")
    if why := overdue(step.around.now() - learned.at, rule.max_age_s):
        return Closed("stale", f"What was learned of the route is {why}. {_REMEDY}.")
    from ..routing.learned import Refusal  # noqa: PLC0415  # imports numpy, which is here by now

    found = learned.choose(rule)
    if isinstance(found, Refusal):
        return Closed("unproven", f"{found.reason}.")
    aims = canonical_json([learned.at, found.reach, list(found.prices)])
    return OpenRoute(f"route {short(aims)}", learned.taking(found))


def _within(step: Step[Any], budget_usd: float) -> NamedTier:
    """Return the strongest tier of which a call will likely fit a budget, else the first."""
    for tier in reversed(step.chain.tiers):
        priced = first_priced(tier.tier)
        if priced and priced[1].cost_usd(expected_usage(step.request, tier)) <= budget_usd:
            return tier
    return step.chain.tiers[0]
