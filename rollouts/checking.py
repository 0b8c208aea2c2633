"""Checking: what is odd about a rollout before anybody starts it. Decides only."""

from collections.abc import Iterator, Sequence
from math import ceil

from .rollout import Variant
from .terms import QualityTerms, Terms

_DAY_S = 86_400.0
_LEAST_UNITS = 100


def changes_nothing(candidate: Variant, baseline: Variant, tier: str | None) -> bool:
    """Tell whether both arms are the same. `tier`: the step's own, None where it is unknown."""
    if candidate == baseline:
        return True
    own = (None, tier) if tier is not None else (None,)
    rest = [
        (each.prompt, each.prompt_name, each.model, each.sampling, each.cascade)
        for each in (candidate, baseline)
    ]
    return rest[0] == rest[1] and candidate.tier in own and baseline.tier in own


def evaluations(terms: Terms) -> frozenset[str]:
    """Return the evaluations whose scores the metrics need."""
    metrics = (*terms.guardrails, *terms.signals)
    return frozenset(each.evaluation for each in metrics if isinstance(each, QualityTerms))


def needed(terms: Terms) -> Iterator[tuple[str, float, str]]:
    """Yield each step, how many units it takes, and of what they are: units, or calls to shadow.

    The candidate needs `min_units`, and both arms a hundred before means of theirs count.
    """
    for at, step in enumerate(terms.steps):
        if step == "shadow":
            yield "shadow", terms.shadow_pairs / terms.shadow_share, "calls"
            continue
        weight = terms.rollout("checked").weight_of(at)
        enough = max(terms.min_units, _LEAST_UNITS) / weight
        yield f"{step:g} %", max(enough, _LEAST_UNITS / (1 - weight)), "units"


def too_short(terms: Terms, units_per_day: float | None) -> Iterator[str]:
    """Say which steps pause before they can be over. `units_per_day`: of both arms, if known."""
    if terms.max_step_s < terms.min_step_s:
        yield (
            f"max_step_s is {terms.max_step_s:g}, below min_step_s, {terms.min_step_s:g}: it may "
            "pause before it may go on. Turn them around"
        )
    if units_per_day is None:
        return
    for step, units, what in needed(terms):
        takes_s = units / units_per_day * _DAY_S
        if takes_s > terms.max_step_s:
            yield (
                f"the step {step} needs {ceil(units):,} {what}, {takes_s / _DAY_S:.1f} days at "
                f"{units_per_day:g} a day, and pauses after {terms.max_step_s / _DAY_S:.1f}. Set "
                f"max_step_s = {ceil(takes_s / _DAY_S) * _DAY_S:.0f}, begin with more, or lower "
                f"{'shadow_pairs' if what == 'calls' else 'min_units'}"
            )


def rate_needed(terms: Terms) -> tuple[float, str]:
    """Return the most units a day that a step needs to be over in time, and which step that is."""
    days = max(terms.max_step_s, 1.0) / _DAY_S
    rates = [(units / days, step) for step, units, _ in needed(terms)]
    return max(rates)


def differing(one: Terms, other: Terms) -> Sequence[str]:
    """Return the names of the terms that are not the same."""
    return [each for each in Terms.model_fields if getattr(one, each) != getattr(other, each)]
