"""Cached: an answer from the caches, else a new one that is kept. Decides only.

The exact cache comes first, then the similar-question cache, then one call: identical requests
under way are asked once, in this process and among all that share the store.
"""

import re
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from ..caching import (
    Entry,
    ExactCache,
    Failure,
    Find,
    Keep,
    Key,
    Later,
    Lease,
    Once,
    Release,
    Shared,
    request_key,
)
from ..errors import (
    AllDeploymentsFailedError,
    ContextLengthError,
    RejectedError,
    TierflowError,
    UnparseableReplyError,
)
from ..request import Answer, CacheUse, Chunk, Stored
from ..routing import Pause, Question, run_chain
from .account import answer_of, hit_of, stored_of, with_all_paid
from .evaluated import evaluate_if_due
from .gated import audit_if_due
from .rejection import Rejection
from .similar import Similar
from .step import Plan, Step

T = TypeVar("T")
R = TypeVar("R")

_POLL_S = 0.1
"""How often it is looked whether the process that asks has its answer."""

_PIECE = re.compile(r"\s*\S+\s*")


@dataclass(frozen=True, slots=True)
class _Asked(Generic[T]):
    """A new answer, what others get of it, and whether that was kept."""

    answer: Answer[T]
    entry: Entry
    kept: bool


def cached_or_asked(step: Step[T]) -> Plan[Answer[T]]:
    """Return an answer from the caches, or ask for one and keep it."""
    terms = step.terms
    if terms is None:
        parsed = yield from run_chain(_question(step), step.chain)
        yield from audit_if_due(step, parsed)
        return answer_of(parsed, step.request, step.trail, "off", step.around.settings.tiers)
    key = request_key(step.request, step.route)
    similar = Similar(step, terms, key)
    answer = None if terms.refresh else (yield from _exact(step, terms, key))
    if answer is None:
        answer = yield from _alike(step, terms, similar)
    if answer is not None:
        return answer
    while True:
        shared: Shared = yield Once(key, _leading(step, terms, key), step.trail.left_s())
        brought: _Asked[T] | Answer[T] | None = shared.result
        if shared.led and isinstance(brought, Answer):
            return brought
        if isinstance(brought, _Asked):
            if shared.led:
                return (yield from _learned(step, similar, brought))
            if (hit := _hit(step, brought.entry, key)) is not None:
                return hit
        # The leader gave up, or found what another process keeps: look again, and then ask.
        answer = None if terms.refresh else (yield from _exact(step, terms, key))
        if answer is not None:
            return answer


def _exact(step: Step[T], terms: ExactCache, key: Key) -> Plan[Answer[T] | None]:
    entry: Entry | None = yield Find(key)
    if entry is None or (isinstance(entry.content, Failure) and not terms.failures_ttl_s):
        return None
    answer = _hit(step, entry, key)
    if answer is not None and not terms.read_only and entry.fresh_until <= step.around.now():
        yield Later(key, _refreshed(step, terms, key))
    return answer


def _refreshed(step: Step[T], terms: ExactCache, key: Key) -> Plan[None]:
    """Ask again for what has become stale, unless somebody does. The ledger has it apart."""
    if (yield Lease(key)):
        yield from _giving_back(key, _if_stale(step.anew(), terms, key))


def _if_stale(step: Step[T], terms: ExactCache, key: Key) -> Plan[None]:
    # A failure must not take the place of an answer that may still be served.
    terms = replace(terms, failures_ttl_s=0.0)
    entry: Entry | None = yield Find(key)
    if entry is not None and entry.fresh_until <= step.around.now():
        answer: Answer[T] = yield step.within(_anew(step, terms, key))
        yield from evaluate_if_due(step, answer)


def _anew(step: Step[T], terms: ExactCache, key: Key) -> Plan[Answer[T]]:
    similar = Similar(step, terms, key)
    yield from similar.look()
    return (yield from _learned(step, similar, (yield from _asked(step, terms, key))))


def _alike(step: Step[T], terms: ExactCache, similar: Similar[T]) -> Plan[Answer[T] | None]:
    served = yield from similar.look()
    if served is None or terms.refresh:
        return None
    entry: Entry | None = yield Find(served.key)
    fresh = entry is not None and entry.fresh_until > step.around.now()
    # What was verified is the value; another one may lie under the key by now.
    if entry is not None and fresh and (hit := _hit(step, entry, served.key, similar.is_verified)):
        return replace(hit, rejection=Rejection(served.key, similar.as_served()))
    yield from similar.gone()
    return None


def _leading(step: Step[T], terms: ExactCache, key: Key) -> Plan[_Asked[T] | Answer[T]]:
    """Ask, unless another process is asking: then wait for what it keeps."""
    if terms.refresh or terms.read_only:
        # An answer of another process is not wanted, or nothing is kept that one could wait for.
        return (yield from _asked(step, terms, key))
    while not (yield Lease(key)):
        if step.trail.left_s() <= 0:
            # Nobody is asked any more: it raises, and names the deadline.
            return (yield from _asked(step, terms, key))
        yield Pause(min(_POLL_S, step.trail.left_s()))
        if (answer := (yield from _exact(step, terms, key))) is not None:
            return answer
    return (yield from _giving_back(key, _found_or_asked(step, terms, key)))


def _found_or_asked(step: Step[T], terms: ExactCache, key: Key) -> Plan[_Asked[T] | Answer[T]]:
    # It may have come between the last look and the lease.
    answer = yield from _exact(step, terms, key)
    return answer if answer is not None else (yield from _asked(step, terms, key))


def _giving_back(key: Key, plan: Plan[R]) -> Plan[R]:
    """Carry out a plan, and give the lease back however it ends."""
    try:
        result = yield from plan
    except GeneratorExit:
        # Nobody carries this plan out any more; the lease ends when its renewals do.
        raise
    except BaseException:
        yield Release(key)
        raise
    yield Release(key)
    return result


def _learned(step: Step[T], similar: Similar[T], asked: _Asked[T]) -> Plan[Answer[T]]:
    yield from similar.learn(asked.answer, keep=asked.kept)
    # To compare answers may have cost something, too.
    return with_all_paid(asked.answer, step.trail)


def _asked(step: Step[T], terms: ExactCache, key: Key) -> Plan[_Asked[T]]:
    """Ask the chain, and keep what comes of it."""
    try:
        parsed = yield from run_chain(_question(step), step.chain)
    except (RejectedError, AllDeploymentsFailedError) as error:
        # After a refresh the older answer may still be there, which is better than a failure.
        keeps = terms.failures_ttl_s > 0 and not (terms.read_only or terms.refresh)
        if keeps and _would_come_again(step, error):
            failure = Failure(type(error).__name__, str(error))
            yield Keep(key, _entry(step, terms, failure, terms.failures_ttl_s, 0.0))
        raise
    yield from audit_if_due(step, parsed)
    settings = step.around.settings
    answer = answer_of(parsed, step.request, step.trail, "miss", settings.tiers)
    answer = replace(answer, rejection=Rejection(key))
    ttl_s = terms.ttl_s or settings.cache.ttl_s
    entry = _entry(step, terms, stored_of(answer, parsed.reply.usage), ttl_s, terms.stale_s)
    # A reply that was cut off may well come out whole the next time.
    may_keep = not terms.read_only and not parsed.reply.is_cut_off
    if may_keep:
        yield Keep(key, entry)
    return _Asked(answer, entry, may_keep)


def _entry(
    step: Step[Any], terms: ExactCache, content: Stored | Failure, ttl_s: float, stale_s: float
) -> Entry:
    now = step.around.now()
    return Entry(content, step.labels(terms), now, now + ttl_s, now + ttl_s + stale_s)


def _question(step: Step[T]) -> Question[T]:
    spec = step.spec
    return Question(step.request, spec.returns.read, step.trail, on_chunk=spec.on_chunk)


def _would_come_again(step: Step[Any], error: TierflowError) -> bool:
    """Tell whether the same request would fail in the same way: nothing but it is at fault."""
    # What a model said before may be at fault, or a deployment that was down and may answer then.
    if step.trail.replies or not all(
        isinstance(each, ContextLengthError | RejectedError) for each in step.trail.failures
    ):
        return False
    deployments = sum(len(each.tier.deployments) for each in step.chain.tiers)
    return isinstance(error, RejectedError) or len(step.trail.failures) >= deployments


def _hit(
    step: Step[T], entry: Entry, key: Key, is_verified: Callable[[T], bool] | None = None
) -> Answer[T] | None:
    """Return a stored answer as this step's own; None if it does not fit the result type.

    `is_verified`: what its value must pass, where it was given to another question. Raises the
    failure that is kept instead.
    """
    if isinstance(entry.content, Failure):
        if is_verified is None:
            raise _remembered(entry.content)
        return None
    stored = entry.content
    try:
        value = step.spec.returns.read(stored.text)
    except UnparseableReplyError:
        return None
    if is_verified is not None and not is_verified(value):
        return None
    if step.spec.on_chunk is not None:
        for piece in _pieces(stored.text):
            step.spec.on_chunk(Chunk(piece, stored.tier, stored.model, attempt=0))
    hit = hit_of(value, stored, step.request, step.around.settings.tiers)
    use: CacheUse = "exact" if is_verified is None else "semantic"
    return replace(hit, cache=use, rejection=Rejection(key))


def _pieces(text: str) -> Generator[str]:
    """Yield a text word by word, as a model would have streamed it."""
    yield from _PIECE.findall(text) or ([text] if text else [])


def _remembered(failure: Failure) -> TierflowError:
    message = (
        f"{failure.message} (Remembered, not asked again: the same request failed a moment ago. "
        "Change it, wait, or set ExactCache(failures_ttl_s=0).)"
    )
    if failure.error == RejectedError.__name__:
        return RejectedError(message)
    return AllDeploymentsFailedError(message, [ContextLengthError(failure.message)])
