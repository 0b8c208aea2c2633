"""Steps: what the fake provider does with one request. Values only, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True)
class Say:
    """Answer with ``text``; a text that is not a ``str`` is dumped as JSON.

    Token counts left at None are ceil(characters / 4) of the message contents (input) and of the
    text (output). ``delay_s`` passes before the first byte, ``chunk_delay_s`` before each streamed
    chunk of text. ``logprobs`` holds one float a token and is sent, as in the real API, only to a
    request with ``logprobs: true``; the text is then cut into that many even tokens.
    ``response_model`` is the model the answer names, where it is not the one asked for.
    ``input_tokens`` counts those read from and written to the provider's cache, ``output_tokens``
    the reasoning, however the dialect writes them. ``usage`` False: none is told, as some engines.
    """

    text: object
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int = 0
    delay_s: float = 0.0
    chunk_delay_s: float = 0.0
    finish_reason: str = "stop"
    logprobs: Sequence[float] | None = None
    response_model: str | None = None
    reasoning_tokens: int = 0
    written_tokens: int = 0
    written_1h_tokens: int = 0
    usage: bool = True


@dataclass(frozen=True)
class Fail:
    """Answer with an error in OpenAI's form: ``{"error": {message, type, param, code}}``."""

    status: int
    message: str = "The fake provider was told to fail."
    code: str | None = None
    type: str | None = None
    retry_after_s: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Hang:
    """Accept the request and stay silent for ``seconds``, then close the connection.

    Ends at once when the client disconnects or the server stops.
    """

    seconds: float


@dataclass(frozen=True)
class Drop:
    """Close the connection without an answer."""


@dataclass(frozen=True)
class BreakStream:
    """Stream ``after_chunks`` chunks of ``text`` (one a word), then close the connection.

    A request that did not ask for a stream gets half of the JSON body instead. ``silent_s`` passes
    before the connection is closed. ``text`` may be a Say: some streams tell usage at once.
    """

    after_chunks: int
    text: object
    silent_s: float = 0.0


@dataclass(frozen=True)
class Raw:
    """Send ``body`` as it stands: malformed JSON, a proxy's HTML page, a strange event stream."""

    status: int
    body: str
    content_type: str = "application/json"


Step: TypeAlias = Say | Fail | Hang | Drop | BreakStream | Raw
Compute: TypeAlias = Callable[[dict[str, Any]], Step]
Script: TypeAlias = Step | Sequence[Step] | Compute
"""One step for ever; steps in order, the last one for ever; or a step computed from the body."""
