"""Received: what a provider sent back, whole or in chunks, in one form. Knows no provider."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from ..errors import ProviderDownError
from ..percentiles import percentile


@dataclass(frozen=True, slots=True)
class Received:
    """A reply, or what has arrived of it. `usage`: litellm's object, None if none was sent.

    `confidence`: geometric mean of the token probabilities. `ttft_ms`, `itl_ms`, `itl_p95_ms`:
    milliseconds to the first chunk, mean and 95th percentile of the gaps between chunks; a chunk
    may hold several tokens. None where not streamed or too short.
    """

    text: str = ""
    model: str | None = None
    response_id: str | None = None
    finish_reason: str | None = None
    usage: Any = None
    confidence: float | None = None
    ttft_ms: float | None = None
    itl_ms: float | None = None
    itl_p95_ms: float | None = None


def whole(response: Any, deployment: str) -> Received:
    """Return a reply that came in one piece. Raises ProviderDownError if it holds no choice."""
    if not response.choices:
        raise ProviderDownError(f"{deployment}: the reply has no choices", deployment=deployment)
    choice = response.choices[0]
    return Received(
        text=choice.message.content or "",
        model=response.model,
        response_id=response.id,
        finish_reason=choice.finish_reason,
        usage=getattr(response, "usage", None),
        confidence=_confidence(_logprobs(choice)),
    )


@dataclass(slots=True)
class Stream:
    """Puts a streamed reply together as its chunks arrive.

    `started`, `clock()`: monotonic seconds. `on_text`: called with each piece of text.
    """

    clock: Callable[[], float]
    started: float
    on_text: Callable[[str], None]
    _texts: list[str] = field(default_factory=list[str])
    _arrivals: list[float] = field(default_factory=list[float])
    _logprobs: list[float] = field(default_factory=list[float])
    _finish_reason: str | None = None
    _model: str | None = None
    _response_id: str | None = None
    _usage: Any = None

    def add(self, chunk: Any) -> None:
        """Take one chunk of litellm's stream."""
        self._model = getattr(chunk, "model", None) or self._model
        self._response_id = getattr(chunk, "id", None) or self._response_id
        self._usage = getattr(chunk, "usage", None) or self._usage
        for choice in getattr(chunk, "choices", ()):
            self._finish_reason = choice.finish_reason or self._finish_reason
            self._logprobs.extend(_logprobs(choice))
            if text := choice.delta.content:
                self._arrivals.append(self.clock())
                self._texts.append(text)
                self.on_text(text)

    def received(self, deployment: str, source: Any = None) -> Received:
        """Return the complete reply. Raises ProviderDownError if the stream held nothing.

        `source`: litellm's stream, to tell what litellm made up from what the provider sent.
        """
        if _made_up_end(self._finish_reason, source):
            raise ProviderDownError(f"{deployment}: the stream broke off", deployment=deployment)
        return self.so_far(_usage_told(self._usage, source))

    def so_far(self, usage: Any = None) -> Received:
        """Return what has arrived by now."""
        arrivals = self._arrivals
        gaps = [1000 * (later - earlier) for earlier, later in pairwise(arrivals)]
        return Received(
            text="".join(self._texts),
            model=self._model,
            response_id=self._response_id,
            finish_reason=self._finish_reason,
            usage=usage,
            confidence=_confidence(self._logprobs),
            ttft_ms=1000 * (arrivals[0] - self.started) if arrivals else None,
            itl_ms=sum(gaps) / len(gaps) if gaps else None,
            itl_p95_ms=percentile(gaps, 0.95) if gaps else None,
        )


def _made_up_end(finish_reason: str | None, source: Any) -> bool:
    # litellm passes an empty or malformed body on as a stream that says nothing and stops. A
    # Gemini stream's own end it keeps under the other name.
    seen = getattr(source, "intermittent_finish_reason", None)
    return getattr(source, "received_finish_reason", finish_reason) is None and seen is None


def _usage_told(summed: Any, source: Any) -> Any:
    """Return what the provider told of a stream. `summed`: what litellm made of that."""
    chunks = getattr(source, "chunks", None)
    if chunks is None:
        return summed
    told = usages_told(chunks)
    # Where no chunk brought a usage, litellm sends one of its own guess; and from several it keeps
    # only the names that it knows.
    return told[0] if len(told) == 1 else (summed if told else None)


def usages_told(chunks: Iterable[Any]) -> list[Any]:
    """Return what a stream's chunks told of its usage, in order."""
    return [usage for chunk in chunks if (usage := getattr(chunk, "usage", None)) is not None]


def _logprobs(choice: Any) -> list[float]:
    tokens = getattr(getattr(choice, "logprobs", None), "content", None) or ()
    return [float(token.logprob) for token in tokens]


def _confidence(logprobs: Sequence[float]) -> float | None:
    return math.exp(sum(logprobs) / len(logprobs)) if logprobs else None
