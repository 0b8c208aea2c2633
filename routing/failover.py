"""Failover: through a tier's deployments until one replies. Decides only; a driver asks."""

from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Any

from ..errors import AllDeploymentsFailedError, AttemptError
from ..request import Reply, Request, Usage, Verdict
from .effects import Ask, OnChunk, Pause, Rank, Role, Standing
from .tiers import NamedTier

_ASKS_PER_DEPLOYMENT = 2


@dataclass(slots=True)
class Trail:
    """What one step has tried so far: replies that were paid for, failed attempts, verdicts.

    `tier`: the one that was asked last for the step's answer.
    """

    replies: list[Reply] = field(default_factory=list[Reply])
    failures: list[AttemptError] = field(default_factory=list[AttemptError])
    verdicts: list[Verdict] = field(default_factory=list[Verdict])
    tier: str = ""

    @property
    def next_attempt(self) -> int:
        """The number of the attempt to come, from 1."""
        return len(self.replies) + len(self.failures) + 1

    @property
    def usage(self) -> Usage:
        """The tokens of all replies."""
        return reduce(add, (reply.usage for reply in self.replies), Usage())

    @property
    def cost_usd(self) -> float | None:
        """What all replies cost; None if one of them has no price: unknown is not zero."""
        costs = [reply.cost_usd for reply in self.replies]
        return None if None in costs else sum(cost for cost in costs if cost is not None)


def failover(
    tier: NamedTier,
    request: Request,
    trail: Trail,
    *,
    role: Role = "answer",
    on_chunk: OnChunk | None = None,
) -> Generator[Any, Any, Reply]:
    """Ask the readiest deployment first, the others when it fails.

    A deployment that failed is not asked again, unless its provider named a time to come back
    (Retry-After): then once more, after that time, when all others have failed too and the wait
    fits `max_wait_s`. Raises AllDeploymentsFailedError, or RejectedError at once.
    """
    failures: list[AttemptError] = []
    asked = Counter[str]()
    out: set[str] = set()
    patience_s = tier.tier.max_wait_s
    while left := tuple(each for each in tier.tier.deployments if each.name not in out):
        standings: tuple[Standing, ...] = yield Rank(left)
        # Whoever failed a moment ago comes after whoever was not asked yet.
        best = min(standings, key=lambda each: (each.wait_s, asked[each.deployment.name]))
        if best.wait_s > patience_s:
            raise _all_failed(tier, failures, f"the next may be asked in {best.wait_s:.0f} s")
        if best.wait_s > 0:
            patience_s -= best.wait_s
            yield Pause(best.wait_s)
        name = best.deployment.name
        asked[name] += 1
        try:
            reply: Reply = yield Ask(
                best.deployment, tier, request, role, trail.next_attempt, on_chunk
            )
        except AttemptError as error:
            failures.append(error)
            trail.failures.append(error)
            if not error.elsewhere:
                raise
            if error.retry_after_s is None or asked[name] >= _ASKS_PER_DEPLOYMENT:
                out.add(name)
        else:
            trail.replies.append(reply)
            return reply
    raise _all_failed(tier, failures, "none is left to ask")


def _all_failed(
    tier: NamedTier, failures: list[AttemptError], state: str
) -> AllDeploymentsFailedError:
    tried = "; ".join(str(error) for error in failures) or "all are waiting for a Retry-After"
    return AllDeploymentsFailedError(
        f"Tier {tier.name!r} gave no reply ({state}): {tried}. Check the providers' status and "
        f"keys with `tierflow tiers`, or add a deployment to [tiers.{tier.name}].",
        failures,
    )
