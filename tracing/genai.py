"""GenAI: the spans, metrics and events of model calls, through opentelemetry-util-genai.

The only module that imports it: it renames something in every release, and is pinned. It writes
the names of the conventions, keeps nested instrumentations from doing so a second time, and times
streams; what is ours (tier, cost, the profile's names) is put beside that here.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..request import Message, Reply, Request, Sampling
from ..settings import Deployment
from ..telemetry_settings import TelemetrySettings
from . import names
from .content import Captured, captured
from .dialects import of_call
from .spans import prompt_attributes

if TYPE_CHECKING:
    from opentelemetry.util.genai.handler import TelemetryHandler
    from opentelemetry.util.genai.invocation import Error, InferenceInvocation
    from opentelemetry.util.genai.types import ContentCapturingMode, MessagePart

_PORTS = {"http": 80, "https": 443}
_PLAIN = TelemetrySettings()


class AttemptSpan:
    """The `chat {model}` span of one call; fill it with the reply before it closes."""

    def __init__(
        self, invocation: "InferenceInvocation", telemetry: TelemetrySettings, *, captures: bool
    ) -> None:
        self._invocation, self._telemetry, self._captures = invocation, telemetry, captures

    def asked(self, messages: Sequence[Message]) -> None:
        """Write what was asked, if content is captured."""
        if self._captures:
            from opentelemetry.util.genai.types import (  # noqa: PLC0415  # see handler
                InputMessage,
            )

            prompt = self._kept(messages)
            self._invocation.input_messages = [
                InputMessage(role=each.role, parts=_parts(each.texts)) for each in prompt.messages
            ]

    def placed(self, cached_tokens: int) -> None:
        """Write how many of the prompt's tokens the replica was expected to hold."""
        self._invocation.attributes[names.POOL_CACHED] = cached_tokens

    def chunk(self) -> None:
        """Note that a chunk has arrived."""
        self._invocation.record_stream_chunk()

    def reply(self, reply: Reply) -> None:
        """Write what came back: model, usage, cost, stream timings, and text if it is captured."""
        call, usage = self._invocation, reply.usage
        call.response_model_name = reply.model
        call.response_id = reply.response_id
        call.finish_reasons = [reply.finish_reason] if reply.finish_reason else None
        call.input_tokens = usage.input_tokens
        call.output_tokens = usage.output_tokens
        call.cache_read_input_tokens = usage.cache_read_tokens or None
        call.thinking_tokens = usage.reasoning_tokens or None
        optional = {
            # Not through the invocation: it knows the later name alone.
            names.PROFILES[self._telemetry.profile].cache_write: usage.cache_write_tokens or None,
            names.USAGE_ESTIMATED: usage.estimated or None,
            names.COST_USD: reply.cost_usd,
            names.UNPRICED: True if reply.cost_usd is None else None,
            names.ITL_MEAN: _seconds(reply.itl_ms),
            names.ITL_P95: _seconds(reply.itl_p95_ms),
            names.TOKENS_PER_SECOND: tokens_per_second(
                usage.output_tokens, reply.latency_ms, reply.ttft_ms
            ),
        }
        call.attributes.update({key: value for key, value in optional.items() if value is not None})
        first_ns = self._first_token_ns(reply.ttft_ms)
        call.attributes.update(of_call(reply.cost_usd, first_ns, self._telemetry.dialects))
        if self._captures:
            self._said(reply)

    def _first_token_ns(self, ttft_ms: float | None) -> int | None:
        # Only a span that is recorded knows when it began.
        began: int | None = getattr(self._invocation.span, "start_time", None)
        return None if began is None or ttft_ms is None else began + int(1e6 * ttft_ms)

    def _said(self, reply: Reply) -> None:
        from opentelemetry.util.genai.types import OutputMessage  # noqa: PLC0415  # see handler

        kept = self._kept([{"role": "assistant", "content": reply.text}])
        self._invocation.output_messages = [
            # v1.41.1's schema wants a reason.
            OutputMessage(each.role, _parts(each.texts), reply.finish_reason or "unknown")
            for each in kept.messages
        ]

    def _kept(self, messages: Sequence[Message]) -> Captured:
        kept = captured(messages, self._telemetry)
        if kept.is_cut:
            self._invocation.attributes[names.CONTENT_CUT] = True
        return kept


@contextmanager
def attempt(
    deployment: Deployment,
    request: Request,
    sampling: Sampling,
    *,
    tier: str,
    role: str,
    streamed: bool = False,
    telemetry: TelemetrySettings = _PLAIN,
) -> Generator[AttemptSpan]:
    """Open the span of one call to one deployment; a failure becomes its error type.

    `sampling`: the tier's and the request's. `streamed`: the reply comes in chunks.
    """
    address, port = _endpoint(deployment)
    mode = _mode(telemetry)
    handler = _handler(
        mode,
        in_process=deployment.provider in names.IN_PROCESS,
        schema_url=names.PROFILES[telemetry.profile].schema_url,
    )
    invocation = handler.inference(
        names.PROVIDERS.get(deployment.provider, deployment.provider),
        request_model=deployment.model.partition("/")[2],
        server_address=address,
        server_port=port,
    )
    invocation.attributes.update(_of_step(request, tier, role))
    if deployment.pool:
        invocation.attributes[names.POOL] = deployment.pool
    invocation.output_type = "text" if request.schema is None else "json"
    invocation.request_stream = streamed or None
    invocation.temperature = sampling.temperature
    invocation.top_p = sampling.top_p
    invocation.max_tokens = sampling.max_tokens
    invocation.seed = sampling.seed
    invocation.stop_sequences = list(sampling.stop) if sampling.stop else None
    invocation.attributes.update(_of_params(deployment.params))
    span = AttemptSpan(invocation, telemetry, captures=mode.value > 0)
    try:
        span.asked(request.messages)
        yield span
    except BaseException as exc:
        # The provider's own words may quote the prompt; the type says enough.
        invocation.fail(_fault(exc))
        raise
    else:
        invocation.stop()


@contextmanager
def encoding(fingerprint: str, *, dimensions: int, input_tokens: int) -> Generator[None]:
    """Open the `embeddings {model}` span of an encoder that runs in this process.

    `fingerprint`: of its vector space, `name:hash`. Content is never captured.
    """
    handler = _handler(_mode(_PLAIN), in_process=True, schema_url=names.SCHEMA_URL)
    invocation = handler.embedding("local", request_model=fingerprint.rpartition(":")[0])
    invocation.response_model_name = fingerprint
    invocation.dimension_count = dimensions
    invocation.input_tokens = input_tokens
    try:
        yield
    except BaseException as exc:
        invocation.fail(_fault(exc))
        raise
    else:
        invocation.stop()


def tokens_per_second(output_tokens: int, latency_ms: float, ttft_ms: float | None) -> float | None:
    """Return how fast a reply was written, after its first chunk if it was streamed.

    None where nothing was written, or all of it at once.
    """
    took_ms = latency_ms - (ttft_ms or 0.0)
    return 1000 * output_tokens / took_ms if output_tokens and took_ms > 0 else None


def _of_step(request: Request, tier: str, role: str) -> Mapping[str, str]:
    known = {
        names.STEP: request.step,
        names.TIER: tier,
        names.ROLE: role,
        names.ARM: request.arm,
        names.TENANT: request.tenant,
        **prompt_attributes(request),
    }
    return {name: value for name, value in known.items() if value}


def _of_params(params: Mapping[str, Any]) -> Mapping[str, float]:
    """Name what a deployment's own options say of sampling."""
    wanted = {f"gen_ai.request.{name}": params.get(name) for name in _SAMPLING}
    wanted["gen_ai.request.choice.count"] = params.get("n") if params.get("n") != 1 else None
    return {name: value for name, value in wanted.items() if isinstance(value, int | float)}


_SAMPLING = ("frequency_penalty", "presence_penalty", "top_k")


def _endpoint(deployment: Deployment) -> tuple[str | None, int | None]:
    url = urlsplit(deployment.api_base or "")
    return url.hostname, (url.port or _PORTS.get(url.scheme)) if url.hostname else None


def _parts(texts: Sequence[str]) -> "list[MessagePart]":
    from opentelemetry.util.genai.types import TextPart  # noqa: PLC0415  # see handler

    return [TextPart(content=text) for text in texts]


def _fault(exc: BaseException) -> "Error":
    from opentelemetry.util.genai.invocation import Error  # noqa: PLC0415  # loaded by now

    return Error(message=type(exc).__name__, type=type(exc).__name__)


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _mode(telemetry: TelemetrySettings) -> "ContentCapturingMode":
    from opentelemetry.util.genai.types import ContentCapturingMode  # noqa: PLC0415  # see handler
    from opentelemetry.util.genai.utils import (  # noqa: PLC0415  # see handler
        get_content_capturing_mode,
    )

    if telemetry.capture_content is None:
        return get_content_capturing_mode()
    return ContentCapturingMode[telemetry.capture_content.upper()]


@lru_cache(maxsize=16)
def _handler(
    mode: "ContentCapturingMode", *, in_process: bool, schema_url: str
) -> "TelemetryHandler":
    # Loaded with the first model call: a run that is answered from the cache needs none of it.
    from .genai_handler import Handler  # noqa: PLC0415

    return Handler(mode, in_process=in_process, schema_url=schema_url)
