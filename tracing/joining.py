"""Joining: under which span a span belongs, where OpenTelemetry's current one is not it.

In a process pool, on Dask and on Ray, Prefect starts a new trace for every task run. The labels of
the flow run that came along still carry the flow's own: whoever finds that joins it.
"""

from collections.abc import Generator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import Link, SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from .tracers import Beginning

FLOW_LABEL = "__OTEL_TRACEPARENT"
"""Prefect's label of a run for the span that is below nothing but its parents."""

_FORMAT = TraceContextTextMapPropagator()


def traceparent_of(context: Context) -> str:
    """Return the W3C traceparent of a context's span, empty for none."""
    carrier = dict[str, str]()
    _FORMAT.inject(carrier, context)
    return carrier.get("traceparent", "")


def context_of(traceparent: str) -> Context:
    """Return the current context with the span of a W3C traceparent in it, if it is one."""
    return _FORMAT.extract({"traceparent": traceparent})


def span_context_of(context: Context | None = None) -> SpanContext:
    """Return which span is current in a context; an invalid one for none."""
    return trace.get_current_span(context).get_span_context()


def parent() -> tuple[Context | None, list[Link]]:
    """Return the context to begin a span in, None where it is simply the current one.

    A span that is left aside for the flow's trace is linked.
    """
    from prefect.context import FlowRunContext  # noqa: PLC0415  # prefect costs a second to import

    flow = FlowRunContext.get()
    if flow is None or flow.flow_run is None:
        return None, []
    context = context_of(str(flow.flow_run.labels.get(FLOW_LABEL, "")))
    origin, current = span_context_of(context), span_context_of()
    if not origin.is_valid or (current.is_valid and current.trace_id == origin.trace_id):
        return None, []
    return context, [Link(current)] if current.is_valid else []


def joined(beginning: Beginning) -> Beginning:
    """Begin a span where `parent` says, unless it was said where."""
    if beginning.context is not None:
        return beginning
    context, links = parent()
    return Beginning(context, beginning.kind, [*(beginning.links or ()), *links])


@contextmanager
def within(context: Context | None) -> Generator[None]:
    """Make a context the current one in the block; None changes nothing."""
    if context is None:
        yield
        return
    token = attach(context)
    try:
        yield
    finally:
        detach(token)
