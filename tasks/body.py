"""Body: what a step does when Prefect runs it: its plan, carried out by this process's hands."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prefect.context import FlowRunContext, TaskRunContext

from ..prompting import NamedPrompt
from ..request import Answer
from .drive import PromptCall, drive, drive_async
from .hands import Hands, hands
from .plan import step_plan
from .ruled import with_run_tags
from .spec import StepSpec, Surroundings
from .step import Plan


def answered(
    spec: StepSpec[Any],
    prompt: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    batch: int = 0,
) -> Answer[Any]:
    """Answer a step whose prompt function is called with these arguments. Waits here.

    `batch`: see Surroundings.
    """
    mine = hands()
    return drive(_plan(spec, mine, batch), mine, rendering(prompt, args, kwargs))


async def answered_async(
    spec: StepSpec[Any],
    prompt: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    batch: int = 0,
) -> Answer[Any]:
    """Answer a step whose prompt function may be async. Lets others run."""
    mine = hands()
    return await drive_async(_plan(spec, mine, batch), mine, rendering(prompt, args, kwargs))


def around_here(mine: Hands, batch: int = 0) -> Surroundings:
    """Return what a plan may know that is carried out here, in this flow run and task run."""
    flow, task = FlowRunContext.get(), TaskRunContext.get()
    named = None
    if flow is not None and flow.flow_run is not None:
        named = (str(flow.flow_run.id), flow.flow.name if flow.flow else flow.flow_run.name)
    return mine.surroundings(named, str(task.task_run.id) if task else None, batch)


def _plan(spec: StepSpec[Any], mine: Hands, batch: int) -> Plan[Answer[Any]]:
    task = TaskRunContext.get()
    if task is not None:
        spec = with_run_tags(spec, task.task_run.tags)
    return step_plan(spec, around_here(mine, batch))


def rendering(
    prompt: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> PromptCall:
    """Return what calls a prompt function with these arguments: the step's own, or another."""

    def call(other: Callable[..., Any] | None) -> Any:
        if isinstance(other, NamedPrompt):
            return other.in_place(prompt, args, kwargs)
        return (other or prompt)(*args, **kwargs)

    return call
