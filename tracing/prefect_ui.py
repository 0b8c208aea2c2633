"""Prefect UI: what a person sees of steps there: run names, tags, state names, reports.

The only module that reaches into Prefect's run contexts for writing; a contract test holds every
supported version of Prefect to what is assumed here.
"""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import PrefectException
from prefect.flows import Flow
from prefect.states import Completed
from slugify import slugify

from ..errors import StoreError
from ..request import Answer
from .notices import notice_at_end
from .opening import rows_of
from .report import as_table, headline, summarise, usd

if TYPE_CHECKING:
    from .run_report import Run

_LOG = logging.getLogger("tierflow")
_HITS = {"exact", "semantic"}
_TERMINAL = [StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED, StateType.CRASHED]


def conclude(answer: Answer[Any], data: Any, body: Callable[..., Any]) -> Any:
    """Name the current task run after its answer; return `data` in a state that says how it came.

    Where `body` is not what the task run runs (a step's `.fn` in a test, or in another task),
    return `data` itself.
    """
    context = TaskRunContext.get()
    if context is None or context.task.fn is not body:
        return data
    run = context.task_run
    run.name = f"{run.name} · {answer.tier} · {answer.model} · {_price(answer)}"
    # Changing the run in place costs no request: the terminal state's event carries it along.
    run.tags = sorted({*run.tags, *_tags(answer)})
    return Completed(name=_state_name(answer), data=data)


def conclude_batch(answers: Sequence[Answer[Any]], data: Any, body: Callable[..., Any]) -> Any:
    """Name the current task run after the answers of a batch. Otherwise as `conclude`."""
    context = TaskRunContext.get()
    if context is None or context.task.fn is not body:
        return data
    run, hits = context.task_run, sum(answer.cache in _HITS for answer in answers)
    unpriced = sum(answer.cost_usd is None for answer in answers)
    cost = usd(sum(answer.cost_usd or 0.0 for answer in answers))
    price = f"{cost} and {unpriced:,} unpriced" if unpriced else cost
    run.name = f"{run.name} · {len(answers):,} items · {price}"
    run.tags = sorted({*run.tags, *(tag for answer in answers for tag in _tags(answer))})
    return Completed(name=f"Answered {len(answers):,}, {hits:,} from the cache", data=data)


def _tags(answer: Answer[Any]) -> list[str]:
    tags = [f"tier: {answer.tier}", f"model: {answer.model}", f"cache: {answer.cache}"]
    if answer.escalations:
        tags.append("escalated")
    if answer.failures:
        tags.append("failed over")
    if answer.cost_usd is None:
        tags.append("unpriced")
    if answer.arm:
        tags.append(f"arm: {answer.arm}")
    return tags


def _state_name(answer: Answer[Any]) -> str:
    if answer.cache in _HITS:
        return f"Cached ({answer.cache})"
    return f"Escalated to {answer.tier}" if answer.escalations else f"Answered by {answer.tier}"


def _price(answer: Answer[Any]) -> str:
    if answer.cache in _HITS:
        return "cached"
    return "unpriced" if answer.cost_usd is None else usd(answer.cost_usd)


def report_at_end() -> None:
    """Have the flow run that is under way publish its cost table when it ends."""
    context = FlowRunContext.get()
    if context is None or context.flow is None:
        return
    flow = context.flow
    for hooks in (
        flow.on_completion_hooks,
        flow.on_failure_hooks,
        flow.on_cancellation_hooks,
        flow.on_crashed_hooks,
    ):
        if publish_report not in hooks:
            hooks.append(publish_report)


def publish_report(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001  # the signature of a Prefect hook
    """Write the flow run's cost table and its report as artifacts, and emit its events."""
    # Not before a run ends.
    from .run_report import events_of, read_run  # noqa: PLC0415

    try:
        run = read_run(str(flow_run.id))
    except StoreError as error:
        _LOG.warning("%s The flow run has no report.", error)
        return
    if run is None:
        return
    for event in events_of(run):
        notice_at_end(event.kind, event.about, event.payload, flow_run)
    try:
        with get_client(sync_client=True) as client:
            for artifact in _artifacts(run, slugify(flow.name)):
                artifact.flow_run_id = flow_run.id
                client.create_artifact(artifact)
    except (httpx.HTTPError, PrefectException, OSError) as error:
        _LOG.warning("The report of %s cannot be published: %s", flow_run.name, error)


def _artifacts(run: "Run", flow: str) -> Iterator[ArtifactCreate]:
    """Yield what is published of a run. The table first: it needs no picture."""
    from .run_report import contents_of, markdown  # noqa: PLC0415  # see above

    summaries = summarise(run.rows)
    yield ArtifactCreate(
        key=f"tierflow-{flow}",
        type="table",
        description=headline(summaries[-1]),
        data=json.dumps(as_table(summaries)),
    )
    contents = contents_of(run)
    yield ArtifactCreate(
        key=f"tierflow-{flow}-report",
        type="markdown",
        description=contents.headline,
        data=markdown(contents),
    )


def unrecorded(flow_run_id: str) -> int:
    """Return how many ended task runs of a flow run the Prefect server has yet to write down.

    A server takes some 30 ms of CPU per task run, so it lags behind a large fan-out; one that is
    stopped too early loses them. Counts the steps in the ledger against the server's task runs.
    """
    ended = len({row.task_run_id for row in rows_of(flow_run_id) if row.task_run_id})
    wanted = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(flow_run_id)]))
    terminal = TaskRunFilter(state=TaskRunFilterState(type=TaskRunFilterStateType(any_=_TERMINAL)))
    filters = {
        "flow_runs": wanted.model_dump(mode="json"),
        "task_runs": terminal.model_dump(mode="json"),
    }
    with get_client(sync_client=True) as client:
        recorded = int(client.request("POST", "/task_runs/count", json=filters).json())
    return max(0, ended - recorded)
