"""Client: one call to one deployment through litellm, and the reply in our terms.

litellm is transport and provider dialects here: its retries, caches and callbacks stay off.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import aclosing, closing, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, cast

from ..errors import AttemptError, AttemptTimeoutError
from ..request import Chunk, Reply
from ..telemetry_settings import TelemetrySettings
from ..tracing import AttemptSpan, attempt, usage_of
from .echoes import Unsaid
from .effects import Ask
from .lasting import on_lasting_loop, wait_on_lasting_loop
from .marks import cache_options, marked
from .metering import broken_off, priced, sent_characters
from .received import Received, Stream, whole
from .tiers import api_key
from .vendor import litellm, returned, vendor_errors

_PLAIN = TelemetrySettings()


class ModelClient(Protocol):
    """Carries out an Ask. Both ways raise an AttemptError and nothing else of a provider's."""

    def ask(self, ask: Ask) -> Reply:
        """Ask and wait."""
        ...

    async def ask_async(self, ask: Ask) -> Reply:
        """Ask without holding up the event loop."""
        ...


@dataclass(frozen=True, slots=True)
class LiteLLMClient:
    """A ModelClient over real connections.

    `environ` holds API keys; `clock` is monotonic, `now` gives Unix seconds. `telemetry`: what is
    told of calls.
    """

    environ: Mapping[str, str]
    clock: Callable[[], float] = time.perf_counter
    now: Callable[[], float] = time.time
    telemetry: TelemetrySettings = _PLAIN

    def ask(self, ask: Ask) -> Reply:
        """Ask and wait."""
        if ask.timeout_s is not None:
            # A blocking call could only be cut off by litellm's own timeout (see README.md).
            return wait_on_lasting_loop(self._ask_in_time(ask, ask.timeout_s))
        vendor, name = litellm(), ask.deployment.instance
        with self._timed() as started, self._metered(ask, started) as span:
            with vendor_errors(name, self._unsaid(ask)):
                response = returned(vendor.completion(**self._options(ask)), name)
            if ask.on_chunk is None:
                return self._reply(ask, span, whole(response, name), started)
            stream = self._stream(ask, span, started, response)
            with closing(_chunks(response, name, self._unsaid(ask))) as chunks:
                for chunk in chunks:
                    stream.add(chunk)
            return self._reply(ask, span, stream.received(name, response), started)

    async def ask_async(self, ask: Ask) -> Reply:
        """Ask without holding up the event loop."""
        if ask.timeout_s is not None:
            return await on_lasting_loop(self._ask_in_time(ask, ask.timeout_s))
        return await on_lasting_loop(self._ask_async(ask))

    async def _ask_in_time(self, ask: Ask, timeout_s: float) -> Reply:
        name, ends = ask.deployment.instance, time.monotonic() + timeout_s
        litellm()  # takes seconds, once; the call is begun only if there is time left
        with self._timed():
            try:
                if time.monotonic() < ends:
                    async with asyncio.timeout(ends - time.monotonic()):
                        return await self._ask_async(ask)
            except TimeoutError:
                pass
            error = AttemptTimeoutError(
                f"{name}: AttemptTimeoutError: no reply in the {timeout_s:.1f} s that the step's "
                "deadline left",
                deployment=name,
            )
            error.may_be_billed = True
            raise error

    async def _ask_async(self, ask: Ask) -> Reply:
        vendor, name = litellm(), ask.deployment.instance
        with self._timed() as started, self._metered(ask, started) as span:
            with vendor_errors(name, self._unsaid(ask)):
                response = returned(await vendor.acompletion(**self._options(ask)), name)
            if ask.on_chunk is None:
                return self._reply(ask, span, whole(response, name), started)
            stream = self._stream(ask, span, started, response)
            async with aclosing(_chunks_async(response, name, self._unsaid(ask))) as chunks:
                async for chunk in chunks:
                    stream.add(chunk)
            return self._reply(ask, span, stream.received(name, response), started)

    @contextmanager
    def _timed(self) -> Generator[float]:
        """Yield the clock's time. An attempt that fails says when it began and what it took."""
        began_at, started = self.now(), self.clock()
        try:
            yield started
        except AttemptError as error:
            error.began_at, error.latency_ms = began_at, 1000 * (self.clock() - started)
            raise

    @contextmanager
    def _metered(self, ask: Ask, started: float) -> Generator[AttemptSpan]:
        """Yield the span of a call; where no reply comes of it, it says what that cost."""
        meter = ask.meter
        with attempt(
            ask.deployment,
            ask.request,
            ask.request.sampling.over(ask.tier.tier.sampling),
            tier=ask.tier.name,
            role=ask.role,
            streamed=ask.on_chunk is not None,
            telemetry=self.telemetry,
        ) as span:
            meter.clock, meter.started, meter.began_at = self.clock, started, self.now()
            if ask.placed is not None and ask.placed.ticket is not None:
                span.placed(ask.placed.cached_tokens)
            try:
                yield span
            except BaseException as error:
                if (paid := broken_off(ask, error)) is not None:
                    span.reply(paid)
                raise

    def _unsaid(self, ask: Ask) -> Unsaid:
        return Unsaid(self._key(ask), ask.request.messages)

    def _key(self, ask: Ask) -> str | None:
        return api_key(ask.deployment, self.environ)

    def _options(self, ask: Ask) -> dict[str, Any]:
        deployment, request, tier = ask.deployment, ask.request, ask.tier.tier
        options: dict[str, Any] = {
            "model": deployment.model,
            "messages": marked(request.messages, ask.cache),
            "timeout": tier.timeout_s,
            "num_retries": 0,
            "max_retries": 0,
            "drop_params": True,  # some models refuse a temperature; the wish is then dropped
            **cache_options(ask.cache),
            **tier.sampling.given(),
            **deployment.params,
            **request.sampling.given(),
        }
        if deployment.api_base:
            options["api_base"] = deployment.api_base
        # Self-hosted engines need no key, but litellm's OpenAI client insists on one.
        if key := self._key(ask) or (deployment.api_base and "none"):
            options["api_key"] = key
        if ask.placed is not None and ask.placed.headers:
            options["extra_headers"] = {
                **ask.placed.headers,
                **deployment.params.get("extra_headers", {}),
            }
        if request.schema is not None:
            options["response_format"] = {
                "type": "json_schema",
                "json_schema": {
                    "name": "result",
                    "schema": request.schema,
                    "strict": _is_closed(request.schema),
                },
            }
        if request.logprobs:
            options["logprobs"] = True
        if request.item is not None:
            options["metadata"] = {"item": request.item}
        if ask.on_chunk is not None:
            options |= {"stream": True, "stream_options": {"include_usage": True}}
        return options

    def _stream(self, ask: Ask, span: AttemptSpan, started: float, source: Any) -> Stream:
        def on_text(text: str) -> None:
            span.chunk()
            if ask.on_chunk is not None:
                ask.on_chunk(Chunk(text, ask.tier.name, ask.deployment.model, ask.attempt))

        ask.meter.source = source
        ask.meter.stream = Stream(self.clock, started, on_text)
        return ask.meter.stream

    def _reply(self, ask: Ask, span: AttemptSpan, got: Received, started: float) -> Reply:
        usage = usage_of(got.usage, sent=sent_characters(ask), received=len(got.text))
        latency_s = self.clock() - started
        reply = priced(ask, got, usage, 1000 * latency_s, self.now() - latency_s)
        span.reply(reply)
        return reply


def _is_closed(schema: object) -> bool:
    """Tell whether no object of a schema takes keys it does not name: strict output needs that."""
    match schema:
        case Mapping():
            fields = cast("Mapping[str, object]", schema)
            return fields.get("additionalProperties", False) is False and all(
                map(_is_closed, fields.values())
            )
        case list():
            return all(map(_is_closed, cast("list[object]", schema)))
        case _:
            return True


# The caller's on_chunk runs between these yields, so what it raises is not taken for a
# provider's failure. The provider is then hung up on: it would go on writing, for money.
def _chunks(response: Any, deployment: str, unsaid: Unsaid) -> Generator[Any]:
    try:
        with vendor_errors(deployment, unsaid):
            yield from response
    finally:
        # litellm's stream itself can only be closed on an event loop.
        if close := getattr(getattr(response, "completion_stream", None), "close", None):
            close()


async def _chunks_async(response: Any, deployment: str, unsaid: Unsaid) -> AsyncGenerator[Any]:
    try:
        with vendor_errors(deployment, unsaid):
            async for chunk in response:
                yield chunk
    finally:
        await response.aclose()
