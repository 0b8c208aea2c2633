"""Costs: what steps, tiers, models, days and tenants took, summed. Knows no store."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

By: TypeAlias = Literal["step", "tier", "model", "day", "tenant", "flow", "role", "arm"]
"""What costs are summed by. Days are UTC's."""

OF_CALLS: frozenset[By] = frozenset({"model", "role"})
"""What only calls know: a step may ask several models, for several reasons."""

TOTAL = "total"


@dataclass(frozen=True, slots=True)
class Window:
    """Which rows count. `since`, `until`: ISO times in UTC, the second is not within; None for all.

    `flow`: the flow's name.
    """

    since: str | None = None
    until: str | None = None
    flow: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What all of one name took. Amounts in USD.

    `calls`: how often the steps ran; by model and role, the calls of models that were billed.
    `cost_usd`: of the priced ones; `unpriced`: how many others. `guessed`: of how many calls the
    tokens are estimated, None where it is not known. `saved_usd`: what the exact and the similar
    cache did not spend again; `saved_by_prefix_usd`: what providers' caches took off.
    `strongest_usd`: the answers' tokens at the price of the strongest tier, None where that is not
    known.
    """

    name: str
    calls: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cost_usd: float
    unpriced: int
    saved_by_prefix_usd: float
    saved_usd: float = 0.0
    strongest_usd: float | None = None
    guessed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRun:
    """What one flow run took. `at`: when its first step began, ISO time in UTC. See Costs."""

    flow_run_id: str
    flow: str | None
    at: str
    steps: int
    failed: int
    cost_usd: float
    unpriced: int


def total_of(costs: Sequence[Costs]) -> Costs:
    """Return the sum of costs."""
    strongest = [each.strongest_usd for each in costs if each.strongest_usd is not None]
    guessed = [each.guessed for each in costs if each.guessed is not None]
    return Costs(
        name=TOTAL,
        calls=sum(each.calls for each in costs),
        input_tokens=sum(each.input_tokens for each in costs),
        output_tokens=sum(each.output_tokens for each in costs),
        cache_read_tokens=sum(each.cache_read_tokens for each in costs),
        cache_write_tokens=sum(each.cache_write_tokens for each in costs),
        cost_usd=math.fsum(each.cost_usd for each in costs),
        unpriced=sum(each.unpriced for each in costs),
        saved_by_prefix_usd=math.fsum(each.saved_by_prefix_usd for each in costs),
        saved_usd=math.fsum(each.saved_usd for each in costs),
        strongest_usd=math.fsum(strongest) if strongest else None,
        guessed=sum(guessed) if guessed else None,
    )


def share_of(cost: Costs, total: Costs) -> float | None:
    """Return the share of all that was spent, 0-1; None where nothing was."""
    return cost.cost_usd / total.cost_usd if total.cost_usd > 0 else None
