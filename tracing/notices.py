"""Notices: what an operator should hear of while a flow runs: a line in its log, and an event.

Events are named `tierflow.<kind>`; Prefect automations can trigger on them. Of each kind there is
one at most for each thing it is about and each flow run: docs/automations.md lists them.
"""

import logging
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4, uuid5

from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext, TaskRunContext
from prefect.events import RelatedResource, emit_event
from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger
from slugify import slugify

_LOG = logging.getLogger("tierflow")
_OURS = UUID("6c1f3c1e-6f0e-4d8e-9d0c-6a8b3f3a5b41")


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
    emit(kind, about, {"message": message}, _ids_here())


def notice_at_end(kind: str, about: str, payload: Mapping[str, Any], flow_run: FlowRun) -> None:
    """Emit the event of a flow run that has ended. Arguments as of `notice`.

    Its deployment is among the related resources, so that an automation can pause it.
    """
    ids = {
        "flow-run": flow_run.id,
        "flow": flow_run.flow_id,
        "deployment": flow_run.deployment_id,
    }
    emit(kind, about, payload, ids)


def emit(kind: str, about: str, payload: Mapping[str, Any], ids: Mapping[str, UUID | None]) -> None:
    """Emit an event. `ids`: of the objects of Prefect's that it is related to, by their kind."""
    emit_event(
        event=f"tierflow.{kind}",
        id=_id(kind, about, ids.get("flow-run")),
        resource={
            "prefect.resource.id": f"tierflow.{slugify(about)}",
            "prefect.resource.name": about,
        },
        related=_related(ids),
        payload=dict(payload),
    )


def _id(kind: str, about: str, flow_run_id: UUID | None) -> UUID:
    # Workers of a process pool do not know of each other. The server takes an id once.
    return uuid5(_OURS, f"{kind} {about} {flow_run_id}") if flow_run_id else uuid4()


def _ids_here() -> dict[str, UUID | None]:
    flow, task = FlowRunContext.get(), TaskRunContext.get()
    ids: dict[str, UUID | None] = {}
    if task is not None:
        ids = {"flow-run": task.task_run.flow_run_id, "task-run": task.task_run.id}
    if flow is not None and flow.flow_run is not None:
        ids["flow-run"] = flow.flow_run.id
    return ids


def _related(ids: Mapping[str, UUID | None]) -> list[RelatedResource]:
    return [
        RelatedResource.model_validate(
            {"prefect.resource.id": f"prefect.{role}.{id_}", "prefect.resource.role": role}
        )
        for role, id_ in ids.items()
        if id_ is not None
    ]
