"""Planner: mark a prefix or not, where, and for how long. Pure arithmetic on prices; no I/O.

Written once, a prefix costs its write price; each further call within its time costs the read
price, and each later one a write again. Marks are set where that is less than the input price.
"""

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, TypeAlias

from ...request import CachePlan
from ...tracing import Prices
from .fingerprint import Boundary
from .vendors import Vendor
from .warmth import MOST_WAIT_S

MOST_MARKS = 4
_READ_PER_S = 4000.0
"""Tokens of a prompt that an engine reads in a second, at least: it holds them from then on. The
first call's whole reply is not waited for."""

_HOUR_S = 3600.0

Ttl: TypeAlias = Literal["5m", "1h", "30m"]


@dataclass(frozen=True, slots=True)
class Reuse:
    """What is expected of a prefix: `further` calls (a mean), `gap_s` seconds apart (a mean)."""

    further: float
    gap_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Prefix:
    """A request's prefix at one deployment.

    `ends`: where it may be marked, the shortest first; `reuses`: what is expected of each.
    `prices`: for a request of this length. `min_tokens`: the shortest that the provider keeps.
    """

    vendor: Vendor
    prices: Prices
    min_tokens: int
    ends: tuple[Boundary, ...]
    reuses: tuple[Reuse, ...]

    @property
    def segments(self) -> tuple[int, ...]:
        """The likely tokens between one end and the next."""
        counts = [0, *(end.tokens for end in self.ends)]
        return tuple(max(0, later - earlier) for earlier, later in pairwise(counts))

    @property
    def plain_cost(self) -> float:
        """What this and the further calls pay for the prefix if nothing is kept."""
        each = zip(self.segments, self.reuses, strict=True)
        return self.prices.input * sum(tokens * (1 + reuse.further) for tokens, reuse in each)


@dataclass(frozen=True, slots=True)
class Decision:
    """A plan and the numbers behind it.

    `plain_cost`, `planned_cost`: of the prefix, for this and the further calls, in USD (in
    multiples of the input price where no price is known).
    """

    plan: CachePlan
    prefix: Prefix
    plain_cost: float
    planned_cost: float


def decide(prefix: Prefix) -> Decision:
    """Return what to tell the provider about a request's prefix."""
    plain = prefix.plain_cost
    plan, cost = _plan(prefix)
    return Decision(plan, prefix, plain, plain if cost is None else cost)


def expected_cost(reuse: Reuse, ttl_s: float, *, read: float, write: float) -> float:
    """Return what one token costs over this and the further calls, if it is kept for `ttl_s`.

    Calls come at random, `gap_s` apart on average; each read renews the time.
    """
    found = 1.0 if reuse.gap_s <= 0 else 1 - math.exp(-ttl_s / reuse.gap_s)
    return write + reuse.further * (found * read + (1 - found) * write)


def _plan(prefix: Prefix) -> tuple[CachePlan, float | None]:
    """Return the plan and what the prefix costs with it; None if as much as without."""
    vendor, least = prefix.vendor, prefix.min_tokens
    if vendor.dialect == "none":
        return CachePlan(reason=vendor.why), None
    # OpenAI keeps, and charges for, a whole prompt unless it is told which part.
    silent = CachePlan(dialect="openai" if vendor.dialect == "openai" else "none")
    if not prefix.ends:
        return replace(silent, reason="the prompt has no prefix; Prompt(prefix=...) names it"), None
    longest = prefix.ends[-1]
    if longest.high < least:
        told = f"at most {longest.high} tokens, and the provider keeps none below {least}"
        return replace(silent, reason=told), None
    if prefix.prices.cache_read >= prefix.prices.input and not vendor.is_own:
        return replace(silent, reason="at the known prices reads are no cheaper than input"), None
    if vendor.dialect == "automatic":
        return _automatic(prefix)
    return _marked(prefix, silent)


def _automatic(prefix: Prefix) -> tuple[CachePlan, float]:
    vendor, prices, longest = prefix.vendor, prefix.prices, prefix.ends[-1]
    # Writes are free here, so a call that finds nothing pays for input.
    kept = expected_cost(
        prefix.reuses[-1], vendor.ttl_s, read=prices.cache_read, write=prices.input
    )
    # Waiting for a first call pays only if the provider then finds the prefix.
    is_long = longest.tokens >= prefix.min_tokens
    plan = CachePlan(
        dialect="automatic",
        cache_key=_cache_key(vendor, longest),
        key=longest.key,
        ttl_s=vendor.ttl_s,
        warm_up=is_long,
        most_wait_s=longest.tokens / _READ_PER_S if vendor.is_own else MOST_WAIT_S,
        reason="the provider keeps it unasked; there is nothing to mark"
        if is_long
        else f"kept unasked if it has {prefix.min_tokens} tokens, which is not sure",
    )
    return plan, longest.tokens * kept


@dataclass(frozen=True, slots=True)
class _Option:
    """How long a mark has a prefix kept, and at what price it is written."""

    ttl: Ttl
    ttl_s: float
    write: float


def _marked(prefix: Prefix, silent: CachePlan) -> tuple[CachePlan, float | None]:
    plain, reuse = prefix.plain_cost, prefix.reuses[-1]
    best = min(
        ((*_cheapest(prefix, option), option) for option in _options(prefix)),
        key=lambda found: found[0],
    )
    cost, last, option = best
    if last is None:
        told = (
            "no further call with this prefix is expected"
            if reuse.further <= 0
            else f"{reuse.further:.1f} further calls, {reuse.gap_s:.0f} s apart, pay no write"
        )
        return replace(silent, reason=told), None
    end = prefix.ends[last]
    doubt = "" if end.low >= prefix.min_tokens else f", if it has {prefix.min_tokens} tokens"
    plan = CachePlan(
        dialect=prefix.vendor.dialect,
        marks=_marks(prefix, last),
        ttl=option.ttl,
        cache_key=_cache_key(prefix.vendor, end),
        key=end.key,
        ttl_s=option.ttl_s,
        warm_up=True,
        reason=(
            f"{prefix.reuses[last].further:.1f} further calls are expected, which makes the "
            f"prefix cost {cost / plain:.0%} of its plain price{doubt}"
        ),
    )
    return plan, cost


def _options(prefix: Prefix) -> list[_Option]:
    vendor, prices = prefix.vendor, prefix.prices
    if vendor.dialect == "openai":
        return [_Option("30m", vendor.ttl_s, prices.cache_write)]
    options = [_Option("5m", vendor.ttl_s, prices.cache_write)]
    if prices.cache_write_1h is not None:
        options.append(_Option("1h", _HOUR_S, prices.cache_write_1h))
    return options


def _cheapest(prefix: Prefix, option: _Option) -> tuple[float, int | None]:
    """Return the least cost with this option and the last end to mark for it, None for no mark."""
    prices, total = prefix.prices, prefix.plain_cost
    cost, last = total, None
    each = zip(prefix.ends, prefix.segments, prefix.reuses, strict=True)
    for place, (end, tokens, reuse) in enumerate(each):
        kept = expected_cost(reuse, option.ttl_s, read=prices.cache_read, write=option.write)
        total += tokens * (kept - prices.input * (1 + reuse.further))
        if end.high >= prefix.min_tokens and total < cost:
            cost, last = total, place
    return cost, last


def _marks(prefix: Prefix, last: int) -> tuple[int, ...]:
    # A token is written once, however many marks lie behind it: a shorter prefix that more calls
    # share may be marked for nothing.
    reuse = prefix.reuses[last]
    shared = [
        end.messages
        for end, each in zip(prefix.ends[:last], prefix.reuses[:last], strict=True)
        if each.further > reuse.further and end.high >= prefix.min_tokens
    ]
    return (*shared[: MOST_MARKS - 1], prefix.ends[last].messages)


def _cache_key(vendor: Vendor, end: Boundary) -> str | None:
    return end.key[:32] if vendor.takes_key else None
