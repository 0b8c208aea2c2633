"""Enrolled: which arm of a rollout answers a step, and what that showed. Decides only."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar, cast

from ..errors import BudgetExhaustedError, ConfigError, TierflowError
from ..prompting import prompt
from ..request import Answer, render
from ..rollouts import Rollout, Variant
from ..rollouts.configured import configured
from ..rollouts.enrolment import Enrol, Enrolment, Footing, Observe, enrolment
from ..rollouts.observations import Observation
from ..routing import Cascade, Judge, confidence, schema
from .ruled import check_arms
from .spec import Render, StepSpec, Surroundings
from .step import Plan

T = TypeVar("T")
HITS = {"exact", "semantic"}
_JUDGES: Mapping[str, Callable[[], Judge]] = {"schema": schema, "confidence": confidence}


def enrolled(spec: StepSpec[Any], around: Surroundings) -> Plan[Enrolment | None]:
    """Return the arm that answers; None without a rollout, before its start, or without a unit."""
    rollout = rollout_of(spec, around)
    if rollout is None:
        return None
    check_arms(spec, rollout, around)
    footing: Footing | None = yield Enrol(rollout.name, around.where.flow_run_id)
    if footing is None:
        return None
    unit = yield from _unit(spec, rollout, footing)
    return enrolment(footing, unit) if unit else None


def _unit(spec: StepSpec[Any], rollout: Rollout, footing: Footing) -> Plan[str | None]:
    by = footing.state.terms.assign_by
    if by == "run":
        return footing.run
    # Whose prompt it is, the prompt says; the baseline's, so that the unit hangs on no arm.
    rendered = render((yield Render(rollout.baseline.prompt)), spec.returns.write)
    return rendered.tenant if by == "tenant" else rendered.item


def rollout_of(spec: StepSpec[Any], around: Surroundings) -> Rollout | None:
    """Return a step's rollout: the one in its code, else the one of tierflow.toml that names it.

    Raises ConfigError for two.
    """
    found = [spec.rollout] if spec.rollout is not None else []
    found += [
        each.of_step(spec.name)
        for each in configured(around.settings).values()
        if spec.name in each.steps and (spec.rollout is None or each.name != spec.rollout.name)
    ]
    if len(found) > 1:
        names = ", ".join(each.name for each in found)
        raise ConfigError(
            f"The step {spec.name!r} is in {len(found)} rollouts at once: {names}. Leave one of "
            "them, in the step's rollout= or in tierflow.toml."
        )
    return found[0] if found else None


def variant_of(spec: StepSpec[Any], around: Surroundings, arm: Enrolment | None) -> Variant:
    """Return what an arm changes of a step."""
    rollout = None if arm is None else rollout_of(spec, around)
    if rollout is None or arm is None:
        return Variant()
    variant = rollout.candidate if arm.arm == "candidate" else rollout.baseline
    if variant.prompt_name is not None:
        variant = replace(variant, prompt=prompt(variant.prompt_name), prompt_name=None)
    cascade: object = variant.cascade
    if isinstance(cascade, Mapping):
        written = cast("Mapping[str, str]", cascade)
        judge = _JUDGES[written["judge"]]()
        variant = replace(variant, cascade=Cascade(written["to"], judge))
    return variant


def varied(spec: StepSpec[T], variant: Variant) -> StepSpec[T]:
    """Return a step with what a variant changes of it, but for prompt, tier and model."""
    sampling, cascade = variant.sampling, variant.cascade
    return replace(
        spec,
        sampling=spec.sampling if sampling is None else sampling.over(spec.sampling),
        cascade=spec.cascade if cascade is None else cascade,
        route=spec.route if cascade is None else None,
    )


def observed(
    arm: Enrolment | None,
    around: Surroundings,
    answering: Callable[[], Plan[Answer[T]]],
) -> Plan[Answer[T]]:
    """Carry out an arm's plan, and keep how it ended as evidence."""
    if arm is None or not arm.counts:
        return (yield from answering())
    started = around.clock()
    try:
        answer = yield from answering()
    except Exception as error:
        # That no money is left says nothing of an arm.
        if not isinstance(error, BudgetExhaustedError):
            latency_ms = 1000 * (around.clock() - started)
            failed = Observation(
                arm.unit,
                arm.arm,
                arm.epoch,
                around.new_ref(),
                around.now(),
                failed=True,
                latency_ms=latency_ms,
            )
            yield Observe(arm.rollout, failed)
        _name_arm(error, arm)
        raise
    yield Observe(arm.rollout, shown_by(answer, arm, around.now()))
    return answer


def _name_arm(error: Exception, arm: Enrolment) -> None:
    """Say in an error of ours that the candidate answered: the step as it is written did not."""
    said = f"The candidate of the rollout {arm.rollout!r} answered."
    if arm.arm == "candidate" and isinstance(error, TierflowError) and said not in str(error):
        message, *rest = error.args or ("",)
        error.args = (f"{message} {said}".strip(), *rest)


def shown_by(answer: Answer[Any], arm: Enrolment, at: float) -> Observation:
    """Return what an answer shows of its arm."""
    return Observation(
        arm.unit,
        arm.arm,
        arm.epoch,
        answer.ref,
        at,
        hit=answer.cache in HITS,
        latency_ms=answer.latency_ms,
        cost_usd=answer.cost_usd,
    )
