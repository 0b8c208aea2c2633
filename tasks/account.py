"""Account: what a step took, summed into its Answer and its row of the ledger."""

from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from ..errors import AttemptError
from ..request import Answer, CacheUse, PromptId, Reply, Request, Stored, Usage
from ..routing import Attempt, Parsed, Trail
from ..settings import Catalogue
from ..tracing import Call, Row, Where, first_priced
from .rejection import Rejection

T = TypeVar("T")
_MOST_LETTERS = 200
"""Of why a tier was passed by: a judge of the user's own may say more."""


def answer_of(
    parsed: Parsed[T], request: Request, trail: Trail, cache: CacheUse, catalogue: Catalogue
) -> Answer[T]:
    """Return the answer that was just asked for, with all that was paid on the way."""
    reply = parsed.reply
    return replace(
        answer_without(request, trail, cache),
        value=parsed.value,
        text=reply.text,
        tier=reply.tier,
        deployment=reply.deployment,
        model=reply.model,
        ttft_ms=reply.ttft_ms,
        itl_ms=reply.itl_ms,
        itl_p95_ms=reply.itl_p95_ms,
        strongest_usd=strongest_usd(catalogue, reply.usage),
        response_id=reply.response_id,
    )


def answer_without(request: Request, trail: Trail, cache: CacheUse) -> Answer[Any]:
    """Return what a step has taken so far, whether or not an answer comes of it."""
    return Answer(
        value=None,
        text="",
        step=request.step,
        tier=trail.tier,
        deployment="",
        model="",
        cache=cache,
        usage=trail.usage,
        cost_usd=trail.cost_usd,
        latency_ms=0.0,
        verdicts=tuple(trail.verdicts),
        replies=tuple(trail.paid),
        failures=tuple(str(error) for error in trail.failures),
        arm=request.arm,
        prompt_id=request.prompt_id,
    )


def with_all_paid(answer: Answer[T], trail: Trail) -> Answer[T]:
    """Return a new answer with what was paid since it was accepted."""
    return replace(
        answer,
        usage=trail.usage,
        cost_usd=trail.cost_usd,
        replies=tuple(trail.paid),
        failures=tuple(str(error) for error in trail.failures),
    )


def hit_of(value: T, stored: Stored, request: Request, catalogue: Catalogue) -> Answer[T]:
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
        strongest_usd=strongest_usd(catalogue, stored.usage),
        arm=request.arm,
        prompt_id=request.prompt_id,
    )


def stored_of(answer: Answer[Any], accepted: Usage) -> Stored:
    """Return an answer as the cache keeps it. `accepted`: the accepted reply's tokens."""
    return Stored(
        text=answer.text,
        tier=answer.tier,
        deployment=answer.deployment,
        model=answer.model,
        usage=accepted,
        cost_usd=answer.cost_usd,
    )


def row_of(answer: Answer[Any], request: Request, where: Where, *, outcome: str) -> Row:
    """Return the ledger's row of a step. `outcome`: "ok", or the error's name."""
    prompt = request.prompt_id or PromptId("", "", "")
    taken_back = answer.rejection
    return Row(
        **asdict(where),
        ref=answer.ref,
        step=answer.step,
        outcome=outcome,
        tier=answer.tier,
        model=answer.model,
        arm=answer.arm,
        tenant=request.tenant,
        prompt=prompt.name,
        prompt_version=prompt.version,
        prompt_hash=prompt.hash,
        cache=answer.cache,
        asks=len(answer.replies),
        failed_attempts=len(answer.failures),
        escalations=answer.escalations,
        passed_by=_passed_by(answer),
        input_tokens=answer.usage.input_tokens,
        output_tokens=answer.usage.output_tokens,
        cache_read_tokens=answer.usage.cache_read_tokens,
        cache_write_tokens=answer.usage.cache_write_tokens,
        reasoning_tokens=answer.usage.reasoning_tokens,
        cost_usd=answer.cost_usd,
        saved_usd=answer.saved_usd,
        saved_by_prefix_usd=answer.saved_by_prefix_usd,
        strongest_usd=answer.strongest_usd,
        latency_ms=answer.latency_ms,
        ttft_ms=answer.ttft_ms,
        itl_ms=answer.itl_ms,
        itl_p95_ms=answer.itl_p95_ms,
        trace_id=answer.trace_id,
        span_id=answer.span_id,
        response_id=answer.response_id,
        rejection=taken_back.written() if isinstance(taken_back, Rejection) else None,
    )


def _passed_by(answer: Answer[Any]) -> str | None:
    refused = (verdict for verdict in answer.verdicts if not verdict.accepted)
    lines = (" ".join(f"{each.judge}: {each.reason}".split()) for each in refused)
    return "\n".join(line[:_MOST_LETTERS] for line in lines) or None


def calls_of(trail: Trail, ref: str) -> tuple[Call, ...]:
    """Return the ledger's rows of a step's calls, in order."""
    return tuple(_call(each, ref) for each in trail.attempts)


def _call(attempt: Attempt, ref: str) -> Call:
    reply = attempt.paid or _said_nothing(attempt)
    return Call(
        ref=ref,
        at=datetime.fromtimestamp(reply.began_at, UTC).isoformat(timespec="milliseconds"),
        role=attempt.role,
        tier=attempt.tier,
        deployment=reply.deployment,
        model=reply.model,
        outcome="ok" if attempt.error is None else type(attempt.error).__name__,
        input_tokens=reply.usage.input_tokens,
        output_tokens=reply.usage.output_tokens,
        cache_read_tokens=reply.usage.cache_read_tokens,
        cache_write_tokens=reply.usage.cache_write_tokens,
        reasoning_tokens=reply.usage.reasoning_tokens,
        estimated=reply.usage.estimated,
        cost_usd=reply.cost_usd,
        saved_by_prefix_usd=reply.saved_by_prefix_usd,
        latency_ms=reply.latency_ms,
        ttft_ms=reply.ttft_ms,
        itl_ms=reply.itl_ms,
        itl_p95_ms=reply.itl_p95_ms,
    )


def _said_nothing(attempt: Attempt) -> Reply:
    error = attempt.error if isinstance(attempt.error, AttemptError) else AttemptError("")
    return Reply(
        text="",
        tier=attempt.tier,
        deployment=error.deployment,
        model="",
        usage=Usage(),
        cost_usd=0.0,
        latency_ms=error.latency_ms,
        saved_by_prefix_usd=0.0,
        began_at=error.began_at,
    )


def strongest_usd(catalogue: Catalogue, usage: Usage) -> float | None:
    """Return what these tokens cost on the frontier tier, None where none of it has a price."""
    found = first_priced(catalogue.frontier)
    return None if found is None else found[1].cost_usd(usage)
