"""Notices: what an operator should hear of while a flow runs: a line in its log, and an event.

Events are named `tierflow.<kind>`; Prefect automations can trigger on them.
"""

import logging

from prefect.context import FlowRunContext, TaskRunContext
from prefect.events import RelatedResource, emit_event
from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger
from slugify import slugify

_LOG = logging.getLogger("tierflow")


def notice(kind: str, about: str, message: str) -> None:
    """Log a warning in the current run and emit the event; outside of a run, only log it.

    `about`: the step, gate or tier, which events can be filtered by. `message`: without any text
    of prompts or replies.
    """
    try:
        get_run_logger().warning("%s: %s", about, message)
    except MissingContextError:
        _LOG.warning("%s: %s", about, message)
        return
    emit_event(
        event=f"tierflow.{kind}",
        resource={
            "prefect.resource.id": f"tierflow.{slugify(about)}",
            "prefect.resource.name": about,
        },
        related=_runs(),
        payload={"message": message},
    )


def _runs() -> list[RelatedResource]:
    flow, task = FlowRunContext.get(), TaskRunContext.get()
    ids = {
        "flow-run": flow.flow_run.id if flow is not None and flow.flow_run else None,
        "task-run": task.task_run.id if task is not None else None,
    }
    return [
        RelatedResource.model_validate(
            {"prefect.resource.id": f"prefect.{role}.{id_}", "prefect.resource.role": role}
        )
        for role, id_ in ids.items()
        if id_ is not None
    ]
