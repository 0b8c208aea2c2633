"""Metering: what a call has cost that brought no whole reply. Reads no clock but the meter's own.

A call may be left at any moment: when its stream breaks off, at its deadline, by whoever listens,
by a flow that is cancelled. What had arrived by then is billed all the same.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..errors import AttemptError
from ..request import Reply, Usage, canonical_json
from ..tracing import partial_usage, prices_of
from .received import Received, Stream, usages_told

if TYPE_CHECKING:
    from .effects import Ask

BROKEN_OFF = "broken_off"
"""The finish reason of a reply that did not arrive whole: its tokens and its cost are a guess."""


@dataclass(slots=True, eq=False)
class Meter:
    """One call so far. Its client writes here, and whoever accounts for the call reads it.

    Not a return value, because a cancelled call returns nothing, and its client may be on another
    thread. `started`: on `clock`, None before anything was sent. `began_at`: Unix seconds.
    `stream`: what has arrived of a streamed reply. `source`: litellm's stream.
    """

    clock: Callable[[], float] | None = None
    started: float | None = None
    began_at: float = 0.0
    stream: Stream | None = None
    source: Any = None

    @property
    def latency_ms(self) -> float:
        """How long the call has taken so far."""
        if self.clock is None or self.started is None:
            return 0.0
        return 1000 * (self.clock() - self.started)


def sent_characters(ask: "Ask") -> int:
    """Return the length of a request, from which its tokens are guessed."""
    return len(canonical_json(ask.request.messages))


def priced(ask: "Ask", got: Received, usage: Usage, latency_ms: float, began_at: float) -> Reply:
    """Return what came back from a deployment as a Reply, at its prices."""
    prices = prices_of(ask.deployment)
    return Reply(
        text=got.text,
        tier=ask.tier.name,
        deployment=ask.deployment.name,
        model=got.model or ask.deployment.model,
        usage=usage,
        cost_usd=None if prices is None else prices.cost_usd(usage),
        latency_ms=latency_ms,
        finish_reason=got.finish_reason,
        confidence=got.confidence,
        ttft_ms=got.ttft_ms,
        itl_ms=got.itl_ms,
        itl_p95_ms=got.itl_p95_ms,
        response_id=got.response_id,
        saved_by_prefix_usd=None if prices is None else prices.saved_by_prefix_usd(usage),
        began_at=began_at,
    )


def broken_off(ask: "Ask", error: BaseException) -> Reply | None:
    """Return what a call must be paid for that `error` ended, without its text.

    None where nothing is billed: it was not sent, or the provider refused it. What was left before
    a word had come is taken for its prompt's tokens: the provider has read them.
    """
    meter = ask.meter
    if meter.started is None:
        return None
    got = Received() if meter.stream is None else meter.stream.so_far()
    told = usages_told(tuple(getattr(meter.source, "chunks", None) or ()))
    refused = isinstance(error, AttemptError) and not error.may_be_billed
    if refused and not (got.text or told):
        return None
    usage = partial_usage(
        # Each tells of all so far.
        told[-1] if told else None,
        sent=sent_characters(ask),
        received=len(got.text),
    )
    latency_ms = getattr(error, "latency_ms", 0.0) or meter.latency_ms
    reply = priced(ask, got, usage, latency_ms, meter.began_at)
    return replace(reply, text="", finish_reason=BROKEN_OFF)
