"""Spans: one for a step, one for each attempt, one for each judge, below Prefect's task span.

The only module that talks to OpenTelemetry. Without an SDK in the process every call is a no-op.
Prompt and reply text never become attributes here.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, StatusCode

from ..request import Answer, Reply, Request, Sampling, Verdict
from ..settings import Deployment
from . import names
from .ledger import Where

if TYPE_CHECKING:
    from opentelemetry.util.genai.handler import TelemetryHandler
    from opentelemetry.util.genai.invocation import Error, InferenceInvocation

Attributes = Mapping[str, str | bool | int | float]


@dataclass(frozen=True, slots=True)
class Within:
    """Effect: carry out a plan inside a span. `describe` names its result as attributes."""

    name: str
    attributes: Attributes
    plan: Generator[Any, Any, Any]
    describe: Callable[[Any], Attributes]


def step_attributes(request: Request, tier: str, where: Where) -> Attributes:
    """Name a step's span: which step, where it runs, what answers first."""
    known = {
        names.STEP: request.step,
        names.TIER: tier,
        names.ARM: request.arm,
        names.TENANT: request.tenant,
        names.FLOW_RUN_ID: where.flow_run_id,
        names.TASK_RUN_ID: where.task_run_id,
    }
    named = {name: value for name, value in known.items() if value}
    return {**named, **prompt_attributes(request)}


def prompt_attributes(request: Request) -> Mapping[str, str]:
    """Name the registered prompt that a request is made of, never its text; nothing for another."""
    if request.prompt_id is None:
        return {}
    name, version, content = request.prompt_id
    return {names.PROMPT: name, names.PROMPT_VERSION: version, names.PROMPT_HASH: content}


def describe_answer(answer: Answer[Any]) -> Attributes:
    """Name how an answer came about."""
    described: dict[str, str | bool | int | float] = {
        names.TIER: answer.tier,
        names.CACHE: answer.cache,
        names.ESCALATIONS: answer.escalations,
        names.FAILED_ATTEMPTS: len(answer.failures),
    }
    if answer.cost_usd is None:
        return described | {names.UNPRICED: True}
    return described | {names.COST_USD: answer.cost_usd}


def within_judge(judge: str, plan: Generator[Any, Any, Verdict]) -> Within:
    """Put a judge's plan inside its own span."""

    def describe(verdict: Verdict) -> Attributes:
        return {
            names.JUDGE_SCORE: verdict.score,
            names.JUDGE_ACCEPTED: verdict.accepted,
            names.JUDGE_REASON: verdict.reason,
        }

    return Within(f"judge {judge}", {names.JUDGE: judge}, plan, describe)


@contextmanager
def span(name: str, attributes: Attributes) -> Generator[Span]:
    """Open an internal span. A failure leaves its type there, never its message."""
    context, links = _parent()
    with _tracer().start_as_current_span(
        name,
        context=context,
        links=links,
        attributes=dict(attributes),
        record_exception=False,
        set_status_on_exception=False,
    ) as opened:
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


class AttemptSpan:
    """The `chat {model}` span of one call; fill it with the reply before it closes."""

    def __init__(self, invocation: "InferenceInvocation") -> None:
        self._invocation = invocation

    def chunk(self) -> None:
        """Note that a chunk has arrived."""
        self._invocation.record_stream_chunk()

    def reply(self, reply: Reply) -> None:
        """Write what came back: model, usage, cost and stream timings."""
        call, usage = self._invocation, reply.usage
        call.response_model_name = reply.model
        call.response_id = reply.response_id
        call.finish_reasons = [reply.finish_reason] if reply.finish_reason else None
        call.input_tokens = usage.input_tokens
        call.output_tokens = usage.output_tokens
        call.cache_read_input_tokens = usage.cache_read_tokens or None
        call.thinking_tokens = usage.reasoning_tokens or None
        optional = {
            names.CACHE_WRITE_TOKENS: usage.cache_write_tokens or None,
            names.USAGE_ESTIMATED: usage.estimated or None,
            names.COST_USD: reply.cost_usd,
            names.UNPRICED: True if reply.cost_usd is None else None,
            names.ITL_MEAN: _seconds(reply.itl_ms),
            names.ITL_P95: _seconds(reply.itl_p95_ms),
        }
        call.attributes.update({key: value for key, value in optional.items() if value is not None})


@contextmanager
def attempt(
    deployment: Deployment,
    tier: str,
    role: str,
    sampling: Sampling,
    *,
    structured: bool = False,
    streamed: bool = False,
) -> Generator[AttemptSpan]:
    """Open the span of one call to one deployment; a failure becomes its error type.

    `structured`: the reply must fit a JSON schema. `streamed`: it comes in chunks.
    """
    endpoint = urlsplit(deployment.api_base or "")
    invocation = _handler().inference(
        names.PROVIDERS.get(deployment.provider, deployment.provider),
        request_model=deployment.model.partition("/")[2] or deployment.model,
        server_address=endpoint.hostname,
        server_port=endpoint.port,
    )
    invocation.attributes.update({names.TIER: tier, names.ROLE: role})
    invocation.output_type = "json" if structured else "text"
    invocation.request_stream = streamed or None
    invocation.temperature = sampling.temperature
    invocation.top_p = sampling.top_p
    invocation.max_tokens = sampling.max_tokens
    invocation.seed = sampling.seed
    invocation.stop_sequences = list(sampling.stop) if sampling.stop else None
    try:
        yield AttemptSpan(invocation)
    except BaseException as exc:
        # The provider's own words may quote the prompt; the type says enough.
        invocation.fail(_fault(exc))
        raise
    else:
        invocation.stop()


def _fault(exc: BaseException) -> "Error":
    from opentelemetry.util.genai.invocation import Error  # noqa: PLC0415  # loaded by now

    return Error(message=type(exc).__name__, type=type(exc).__name__)


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


@lru_cache(maxsize=1)
def _handler() -> "TelemetryHandler":
    from opentelemetry.util.genai.handler import (  # noqa: PLC0415  # for the first model call
        TelemetryHandler,
    )

    return TelemetryHandler(instrumentation_scope_name="tierflow")


def _tracer() -> trace.Tracer:
    return trace.get_tracer("tierflow")


def _parent() -> tuple[Context | None, list[Link]]:
    """Return the context to open a span in, where it is not simply the current one.

    In a process pool (and so on Dask and Ray) Prefect starts a new trace for every task run. The
    flow run's labels still carry its own; join that, and link the task's span.
    """
    from prefect.context import FlowRunContext  # noqa: PLC0415  # prefect costs a second to import

    current = trace.get_current_span().get_span_context()
    flow = FlowRunContext.get()
    if not current.is_valid or flow is None or flow.flow_run is None:
        return None, []
    carrier = {"traceparent": str(flow.flow_run.labels.get("__OTEL_TRACEPARENT", ""))}
    context = propagate.extract(carrier)
    origin = trace.get_current_span(context).get_span_context()
    if not origin.is_valid or origin.trace_id == current.trace_id:
        return None, []
    return context, [Link(current)]
