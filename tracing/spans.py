"""Spans: one for a step, one for each judge, below Prefect's task span; calls are in genai.py.

Without an SDK in the process every call is a no-op. Prompt and reply text never become attributes
here.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Span, StatusCode

from ..request import Request, Verdict
from ..settings import settings
from . import names
from .dialects import Attributes, of_span
from .instruments import tracer
from .joining import parent
from .ledger import Where


@dataclass(frozen=True, slots=True)
class Within:
    """Effect: carry out a plan inside a span. `describe` names its result as attributes."""

    name: str
    attributes: Attributes
    plan: Generator[Any, Any, Any]
    describe: Callable[[Any], Attributes] = lambda _: {}


def within_step(
    request: Request, tier: str, where: Where, plan: Generator[Any, Any, Any]
) -> Within:
    """Put a step's plan inside its span: which step, where it runs, what answers first.

    How it ended is written there when it is accounted for, see `record_step`.
    """
    known = {
        names.STEP: request.step,
        names.TIER: tier,
        names.ARM: request.arm,
        names.TENANT: request.tenant,
        names.FLOW: where.flow,
        names.FLOW_RUN_ID: where.flow_run_id,
        names.TASK_RUN_ID: where.task_run_id,
    }
    named = {name: value for name, value in known.items() if value}
    attributes = {**named, **prompt_attributes(request)}
    return Within(names.STEP_SPAN.format(step=request.step), attributes, plan)


def prompt_attributes(request: Request) -> Mapping[str, str]:
    """Name the registered prompt that a request is made of, never its text; nothing for another."""
    if request.prompt_id is None:
        return {}
    name, version, content = request.prompt_id
    return {names.PROMPT: name, names.PROMPT_VERSION: version, names.PROMPT_HASH: content}


def within_judge(judge: str, plan: Generator[Any, Any, Verdict]) -> Within:
    """Put a judge's plan inside its own span."""

    def describe(verdict: Verdict) -> Attributes:
        return {
            names.JUDGE_SCORE: verdict.score,
            names.JUDGE_ACCEPTED: verdict.accepted,
            names.JUDGE_REASON: verdict.reason,
        }

    return Within(names.JUDGE_SPAN.format(judge=judge), {names.JUDGE: judge}, plan, describe)


@contextmanager
def span(name: str, attributes: Attributes) -> Generator[Span]:
    """Open an internal span. A failure leaves its type there, never its message."""
    context, links = parent()
    with tracer().start_as_current_span(
        name,
        context=context,
        links=links,
        attributes=dict(attributes),
        record_exception=False,
        set_status_on_exception=False,
    ) as opened:
        if opened.is_recording():
            opened.set_attributes(of_span(attributes, settings().telemetry.dialects))
        try:
            yield opened
        except BaseException as exc:
            opened.set_attribute(names.ERROR_TYPE, type(exc).__qualname__)
            opened.set_status(StatusCode.ERROR)
            raise


def span_ids() -> tuple[str | None, str | None]:
    """Return trace id and span id of the current span as hex, None without an SDK."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None, None
    return trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id)
