"""Result cache: what of a step belongs in the key when Prefect's own result caching is on."""

from dataclasses import dataclass, fields
from typing import Any

from prefect.cache_policies import NO_CACHE, CachePolicy
from prefect.context import FlowRunContext, TaskRunContext

from ..request import Answer, canonical_json
from ..rollouts.enrolment import Enrol, Footing, enrolment
from .enrolled import rollout_of
from .hands import hands
from .spec import StepSpec


@dataclass
class StepPolicy(CachePolicy):
    """Keys what the prompt function and its inputs do not show: tier, cascade, sampling, arm.

    It is added to whatever policy a step is given, so that one step's results are never taken
    for those of a copy of it with other options, nor its values for its Answers.
    """

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],  # noqa: ARG002  # the signature of a policy
        flow_parameters: dict[str, Any],  # noqa: ARG002
        **_kwargs: Any,
    ) -> str | None:
        """Return all of the spec that decides a result, as canonical JSON."""
        task: Any = task_ctx.task
        spec: StepSpec[Any] = task.spec
        flow = FlowRunContext.get()
        unit = str(flow.flow_run.id) if flow and flow.flow_run else None
        return canonical_json(
            {
                "shape": type(task).__name__,
                # An Answer that an older release pickled lacks what was added since.
                "fields": [each.name for each in fields(Answer)],
                "tier": spec.tier,
                "schema": spec.returns.schema,
                "cascade": [spec.cascade.stronger, spec.cascade.identity] if spec.cascade else None,
                "route": [spec.route.stronger, spec.route.identity] if spec.route else None,
                "sampling": spec.sampling.given(),
                "arm": _arm(spec, unit),
            }
        )


def _arm(spec: StepSpec[Any], flow_run_id: str | None) -> str | None:
    """Return what decides the arm, but for inputs, which other policies key."""
    rollout = rollout_of(spec, hands().surroundings(None, None))
    if rollout is None:
        return None
    footing: Footing | None = hands().perform(Enrol(rollout.name, flow_run_id))
    if footing is None:
        return None
    if footing.state.terms.assign_by == "run":
        return enrolment(footing, footing.run).label if footing.run else None
    return f"{footing.state.phase} {footing.pin}"


def with_step_keyed(options: dict[str, Any]) -> dict[str, Any]:
    """Return task options whose cache policy, if there is one, also keys the step."""
    policy = options.get("cache_policy")
    if not isinstance(policy, CachePolicy) or policy == NO_CACHE:
        return options
    return {**options, "cache_policy": policy + StepPolicy()}
