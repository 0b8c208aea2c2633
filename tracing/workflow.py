"""Workflow: the `invoke_workflow {flow}` span of a flow run, in which all its steps lie.

It begins with the first step that is called, dated back to the flow run's start, and ends in a
hook of the flow's. Prefect's own span of the flow run is above it, where there is one.
"""

import atexit
import os
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any
from uuid import UUID

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext, SpanKind, StatusCode
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext
from prefect.flows import Flow

from ..errors import StoreError
from ..settings import settings
from . import names
from .dialects import of_span
from .instruments import record, tracer
from .joining import FLOW_LABEL, context_of, span_context_of, traceparent_of
from .ledger import Row
from .opening import rows_of
from .report import summarise
from .sdk import flush_soon

_OPEN: dict[UUID, tuple[Span, SpanContext]] = {}
"""By flow run: its span under way, and the one above it."""

_changing = threading.Lock()


def enter_workflow() -> Context | None:
    """Return the context to call a step of the current flow run in; None for the current one.

    Begins the flow run's span if need be. Where the user's own code or a task has opened a span,
    steps belong there; a flow run that came from another process is traced there.
    """
    context = FlowRunContext.get()
    if context is None or context.detached or context.flow is None or context.flow_run is None:
        return None
    flow_run, current = context.flow_run, span_context_of()
    with _changing:
        if flow_run.id not in _OPEN:
            _OPEN[flow_run.id] = _begun(context.flow, flow_run)
        span, above = _OPEN[flow_run.id]
    if not span.get_span_context().is_valid:
        return None
    inside = trace.set_span_in_context(span)
    # What goes to other processes, and flows that are called from here, belong below it, too. A
    # retry of the flow reads the labels anew.
    flow_run.labels[FLOW_LABEL] = traceparent_of(inside)
    return inside if current.span_id in {above.span_id, trace.INVALID_SPAN_ID} else None


def _begun(flow: Flow[..., Any], flow_run: FlowRun) -> tuple[Span, SpanContext]:
    for hooks in (
        flow.on_completion_hooks,
        flow.on_failure_hooks,
        flow.on_cancellation_hooks,
        flow.on_crashed_hooks,
    ):
        if leave_workflow not in hooks:
            hooks.append(leave_workflow)
    _ended_at_exit(os.getpid())
    above = context_of(str(flow_run.labels.get(FLOW_LABEL, "")))
    known = {
        names.OPERATION: names.INVOKE_WORKFLOW,
        names.WORKFLOW: flow.name,
        names.FLOW: flow.name,
        names.FLOW_RUN_ID: str(flow_run.id),
    }
    span = tracer().start_span(
        names.WORKFLOW_SPAN.format(flow=flow.name),
        context=above,
        kind=SpanKind.INTERNAL,
        attributes=known | of_span(known, settings().telemetry.dialects),
        start_time=int(1e9 * _began(flow_run)),
    )
    return span, span_context_of(above)


def leave_workflow(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """End the flow run's span with what the run took. A hook of Prefect's."""
    with _changing:
        span, _ = _OPEN.pop(flow_run.id, (trace.INVALID_SPAN, None))
    rows = _rows(flow_run)
    fault = {} if state.is_completed() else {names.ERROR_TYPE: _fault(state)}
    span.set_attributes({**_totals(rows), **fault})
    if fault:
        span.set_status(StatusCode.ERROR)
    labels = {names.WORKFLOW: flow.name} | fault
    record(names.WORKFLOW_DURATION, max(0.0, time.time() - _began(flow_run)), labels)
    priced = [row.cost_usd for row in rows if row.cost_usd is not None]
    if len(priced) == len(rows):
        outcome = fault.get(names.ERROR_TYPE, "ok")
        record(names.FLOW_COST, sum(priced), {names.FLOW: flow.name, names.OUTCOME: outcome})
    span.end()
    # A worker that serves many flow runs need not end for this one to be seen.
    flush_soon()


def _rows(flow_run: FlowRun) -> Sequence[Row]:
    try:
        return rows_of(str(flow_run.id))
    except StoreError:
        return []  # the report's hook says so


def _totals(rows: Sequence[Row]) -> Mapping[str, int | float]:
    total = summarise(rows)[-1]
    return {
        names.STEPS: total.calls,
        names.HITS: total.exact_hits + total.similar_hits,
        names.ESCALATIONS: total.escalations,
        names.FAILED_ATTEMPTS: total.failed_attempts,
        names.FAILED_STEPS: total.failed_steps,
        names.INPUT_TOKENS: total.input_tokens,
        names.OUTPUT_TOKENS: total.output_tokens,
        names.COST_USD: total.cost_usd,
        names.SAVED_USD: total.saved_usd,
        names.UNPRICED_STEPS: total.unpriced,
    }


def _began(flow_run: FlowRun) -> float:
    return flow_run.start_time.timestamp() if flow_run.start_time else time.time()


def _fault(state: State[Any]) -> str:
    """Name why a flow run did not complete: its error's type if that is at hand, else its state."""
    error = getattr(state.data, "result", state.data)
    return type(error).__qualname__ if isinstance(error, BaseException) else state.name or "_OTHER"


@cache
def _ended_at_exit(_pid: int) -> None:
    # Registered with the first span, so that it runs before what the SDK registered earlier.
    atexit.register(_leave_all)


def _leave_all() -> None:
    """End what nothing will end any more: a span that is never ended is never exported."""
    with _changing:
        left = [span for span, _ in _OPEN.values()]
        _OPEN.clear()
    for span in left:
        span.set_attribute(names.ERROR_TYPE, "ProcessEnded")
        span.set_status(StatusCode.ERROR)
        span.end()


def _leave_to_parent() -> None:
    global _changing  # noqa: PLW0603  # the parent's may be held by a thread that is not here
    _changing = threading.Lock()
    _OPEN.clear()


if hasattr(os, "register_at_fork"):  # there is no fork on Windows
    os.register_at_fork(after_in_child=_leave_to_parent)
