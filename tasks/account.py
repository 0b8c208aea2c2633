"""Account: what a step took, summed into its Answer and its row of the ledger."""

from dataclasses import asdict
from typing import Any, TypeVar

from ..request import Answer, CacheUse, Request, Stored, Usage
from ..routing import Outcome, Trail
from ..settings import Catalogue
from ..tracing import Row, Where, first_priced
from .returns import Returns

T = TypeVar("T")


def answer_of(
    outcome: Outcome[T], request: Request, trail: Trail, cache: CacheUse, strongest: Catalogue
) -> Answer[T]:
    """Return the answer that was just asked for, with all that was paid on the way."""
    reply = outcome.parsed.reply
    return Answer(
        value=outcome.parsed.value,
        text=reply.text,
        step=request.step,
        tier=reply.tier,
        deployment=reply.deployment,
        model=reply.model,
        cache=cache,
        usage=trail.usage,
        cost_usd=trail.cost_usd,
        latency_ms=0.0,
        ttft_ms=reply.ttft_ms,
        strongest_usd=strongest_usd(strongest, reply.usage),
        verdicts=outcome.verdicts,
        replies=tuple(trail.replies),
        failures=tuple(str(error) for error in trail.failures),
        arm=request.arm,
    )


def hit_of(value: T, stored: Stored, request: Request, strongest: Catalogue) -> Answer[T]:
    """Return a stored answer as this step's own: it costs nothing now."""
    return Answer(
        value=value,
        text=stored.text,
        step=request.step,
        tier=stored.tier,
        deployment=stored.deployment,
        model=stored.model,
        cache="exact",
        usage=Usage(),
        cost_usd=0.0,
        latency_ms=0.0,
        saved_usd=stored.cost_usd,
        strongest_usd=strongest_usd(strongest, stored.usage),
        arm=request.arm,
    )


def stored_of(answer: Answer[T], accepted: Usage, returns: Returns[T]) -> Stored:
    """Return an answer as the cache keeps it. `accepted`: the accepted reply's tokens."""
    return Stored(
        value=returns.dump(answer.value),
        text=answer.text,
        tier=answer.tier,
        deployment=answer.deployment,
        model=answer.model,
        usage=accepted,
        cost_usd=answer.cost_usd,
    )


def row_of(answer: Answer[Any], request: Request, where: Where) -> Row:
    """Return the ledger's row of an answer."""
    return Row(
        **asdict(where),
        step=answer.step,
        outcome="ok",
        tier=answer.tier,
        model=answer.model,
        arm=answer.arm,
        tenant=request.tenant,
        cache=answer.cache,
        asks=len(answer.replies),
        failed_attempts=len(answer.failures),
        escalations=answer.escalations,
        input_tokens=answer.usage.input_tokens,
        output_tokens=answer.usage.output_tokens,
        cache_read_tokens=answer.usage.cache_read_tokens,
        cache_write_tokens=answer.usage.cache_write_tokens,
        cost_usd=answer.cost_usd,
        saved_usd=answer.saved_usd,
        strongest_usd=answer.strongest_usd,
        latency_ms=answer.latency_ms,
        ttft_ms=answer.ttft_ms,
        trace_id=answer.trace_id,
        span_id=answer.span_id,
    )


def failed_row_of(
    error: Exception,
    request: Request,
    trail: Trail,
    where: Where,
    *,
    last_tier: str,
    cache: CacheUse,
    latency_ms: float,
) -> Row:
    """Return the ledger's row of a step without an answer: what was paid was paid."""
    usage = trail.usage
    return Row(
        **asdict(where),
        step=request.step,
        outcome=type(error).__name__,
        tier=last_tier,
        model="",
        arm=request.arm,
        tenant=request.tenant,
        cache=cache,
        asks=len(trail.replies),
        failed_attempts=len(trail.failures),
        escalations=0,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        cost_usd=trail.cost_usd,
        saved_usd=None,
        strongest_usd=None,
        latency_ms=latency_ms,
        ttft_ms=None,
        trace_id=None,
        span_id=None,
    )


def strongest_usd(catalogue: Catalogue, usage: Usage) -> float | None:
    """Return what these tokens cost on the frontier tier, None where none of it has a price."""
    found = first_priced(catalogue.frontier)
    return None if found is None else found[1].cost_usd(usage)
