"""Failover: through a tier's deployments until one replies. Decides only; a driver asks."""

import math
from asyncio import CancelledError
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ..errors import (
    AllDeploymentsFailedError,
    AttemptError,
    DeadlineExceededError,
    ProviderDownError,
)
from ..request import Reply, Request
from ..settings import Deployment
from .budgets import Reserved, Till
from .effects import (
    Admission,
    Admit,
    Ask,
    Hedge,
    OnChunk,
    Pause,
    Place,
    Placed,
    Raced,
    Rank,
    Role,
    Seat,
    Seated,
    Standing,
)
from .expecting import expected_usage
from .metering import broken_off
from .resilience.hedging import not_waited_for
from .tiers import NamedTier
from .trail import Attempt, Trail

_ASKS_PER_DEPLOYMENT = 2
_REPLICAS_PER_TURN = 4
"""So many replicas of a pool may fail a request before its deployment has failed."""

_LONGEST_PROBE_S = 15.0
"""Whoever dies while trying a half-open breaker holds up the others for so long at most."""


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
    fits `max_wait_s`. So does the wait for an open breaker; the tier's own rate limits are waited
    for as long as the deadline allows. Whoever costs more than a budget leaves is passed by. An
    item of a batch is asked in a seat, and again as often as there was no room for it among others.
    Raises AllDeploymentsFailedError, DeadlineExceededError where the deadline leaves no time,
    BudgetExhaustedError where money is what is missing, or RejectedError at once.
    """
    till = Till(trail.purse, tier, request)
    return (yield from _Course(tier, request, trail, role, on_chunk, till).run())


@dataclass(slots=True)
class _Course:
    """One request on its way through a tier. `out`: who is not asked again.

    `tried`: by pool, the replicas that failed, and after how long they want to be asked again.
    `patience_s`: for how long others are still waited for. `refused`: there was no room for it.
    """

    tier: NamedTier
    request: Request
    trail: Trail
    role: Role
    on_chunk: OnChunk | None
    till: Till
    failures: list[AttemptError] = field(default_factory=list[AttemptError])
    asked: Counter[str] = field(default_factory=Counter[str])
    out: set[str] = field(default_factory=set[str])
    tried: dict[str, dict[str, float | None]] = field(
        default_factory=dict[str, dict[str, float | None]]
    )

    patience_s: float = 0.0
    refused: bool = False

    def run(self) -> Generator[Any, Any, Reply]:
        self.patience_s, batch = self.tier.tier.max_wait_s, self.trail.batch
        while (left := self._left_to_ask()) or self.till.shorts:
            if not left:
                self.patience_s -= yield from self._wait_for_money(self.patience_s)
                continue
            standings = yield from self._ranked(left)
            best, left_s = min(standings, key=self._order), self.trail.left_s()
            if best.delay_s >= left_s:
                raise self._too_late(best.delay_s)
            if best.wait_s > self.patience_s:
                raise self._all_failed(f"the next may be asked in {best.wait_s:.0f} s")
            turn = partial(self._turn, best, standings)
            reply: Reply | None
            if batch:
                reply = yield Seated(
                    best.deployment, self.request, left_s, turn, batch, self.refused
                )
            else:
                reply = yield from turn(Seat())
            if reply is not None:
                return reply
        if self.trail.left_s() <= 0:
            raise self._too_late(0.0)
        raise self._all_failed("none is left to ask")

    def _ranked(self, left: tuple[Deployment, ...]) -> Generator[Any, Any, tuple[Standing, ...]]:
        standings: tuple[Standing, ...] = yield Rank(
            left, self.request.step, self._tokens(), bool(self.trail.batch)
        )
        return standings

    def _order(self, standing: Standing) -> tuple[float, float, int]:
        """Sort by readiness, then by room; whoever failed a moment ago comes after the others."""
        full = 1.0
        if self.trail.batch:
            full = max(full, standing.crowd) if standing.is_well else math.inf
        return standing.delay_s, full, self.asked[standing.deployment.name]

    def _turn(
        self, best: Standing, standings: Sequence[Standing], seat: Seat
    ) -> Generator[Any, Any, Reply | None]:
        """Have a deployment's turn: None where failover goes on."""
        if seat.waited:
            # Meanwhile it may have failed others, or another may have become ready.
            standings, before = (yield from self._ranked(self._left_to_ask())), best
            best = next(each for each in standings if each.deployment == before.deployment)
            soonest_s = min(each.delay_s for each in standings)
            if best.delay_s > soonest_s or best.wait_s > self.patience_s:
                return None
        reserved = yield from self._reserve(best)
        if reserved is None:
            return None
        admission = yield from self._admission(best, standings)
        if admission is None:
            yield from self.till.settle(reserved, 0.0)
            return None
        wait_s = max(best.wait_s, admission.wait_s)
        if wait_s > 0:
            self.patience_s -= best.wait_s
            yield Pause(wait_s)
        admission = replace(admission, seat=seat.ticket)
        return (yield from self._ask(best, admission, standings, reserved))

    def _admission(
        self, best: Standing, standings: Sequence[Standing]
    ) -> Generator[Any, Any, Admission | None]:
        """Return leave to ask, None for not now: the standings have changed."""
        if not best.guarded:
            return Admission()
        # Where another is ready sooner, that one is asked.
        others = (each.delay_s for each in standings if each is not best)
        lease_s = min(self.tier.tier.timeout_s, _LONGEST_PROBE_S)
        admission: Admission | None = yield Admit(
            best.deployment, self._tokens(), min(self.trail.left_s(), *others, math.inf), lease_s
        )
        return admission

    def _left_to_ask(self) -> tuple[Deployment, ...]:
        passed_by = self.out | self.till.shorts.keys()
        return tuple(d for d in self.tier.tier.deployments if d.name not in passed_by)

    def _wait_for_money(self, patience_s: float) -> Generator[Any, Any, float]:
        """Wait until calls under way may have cost less than was set aside. Return how long."""
        wait_s = min(self.till.poll_s, patience_s)
        if not self.till.may_fit or not 0 < wait_s < self.trail.left_s():
            raise (yield from self.till.exhausted(self.failures))
        yield Pause(wait_s)
        self.till.look_again()
        return wait_s

    def _reserve(self, standing: Standing) -> Generator[Any, Any, Reserved | None]:
        wait_s = standing.delay_s + self.tier.tier.max_wait_s
        return (
            yield from self.till.reserve(
                standing.deployment, wait_s=wait_s, streamed=self.on_chunk is not None
            )
        )

    def _ask(
        self,
        best: Standing,
        admission: Admission,
        standings: Sequence[Standing],
        reserved: Reserved,
    ) -> Generator[Any, Any, Reply | None]:
        """Ask one deployment, or two in a race, and settle. None where failover goes on."""
        reserves = {best.deployment.name: reserved}
        plan = self._asked(best, admission, standings, reserves)
        if self.trail.purse is None:
            return (yield from plan)
        before = len(self.trail.attempts)
        try:
            reply = yield from plan
        except GeneratorExit:
            # Nobody carries this plan out any more; what is reserved is free after its lease.
            raise
        except BaseException:
            yield from self._settle(reserves, before)
            raise
        yield from self._settle(reserves, before)
        return reply

    def _settle(self, reserves: Mapping[str, Reserved], before: int) -> Generator[Any, Any, None]:
        costs = dict.fromkeys(reserves, 0.0)
        for attempt in self.trail.attempts[before:]:
            if (paid := attempt.paid) is not None:
                name = paid.deployment if paid.deployment in costs else next(iter(costs))
                costs[name] += paid.cost_usd or 0.0
        for name, reserved in reserves.items():
            yield from self.till.settle(reserved, costs[name])

    def _asked(
        self,
        best: Standing,
        admission: Admission,
        standings: Sequence[Standing],
        reserves: dict[str, Reserved],
    ) -> Generator[Any, Any, Reply | None]:
        asking = self._asking(best, admission, self.trail.next_attempt)
        second = yield from self._second(best, standings, reserves)
        first = yield from self._placed(asking)
        if first is None:
            return None
        if first.placed is None:
            self.asked[best.deployment.name] += 1
        if second is not None and best.p95_s is not None:
            return (yield from self._race(Hedge(first, second, best.p95_s)))
        try:
            reply: Reply = yield first
        except AttemptError as error:
            self._failed(error, first)
            return None
        except BaseException as error:
            self._left(error, first)
            raise
        self._replied(reply)
        return reply

    def _race(self, hedge: Hedge) -> Generator[Any, Any, Reply | None]:
        try:
            raced: Raced = yield hedge
        except BaseException as error:
            self._left(error, hedge.first)
            self._left(error, hedge.second)
            raise
        # Everything that was asked is paid for, and the answer's own reply comes last.
        for ask in raced.cancelled:
            if raced.reply is None:
                self._left(CancelledError(), ask)
            else:
                self._replied(not_waited_for(ask, raced.reply))
        if raced.reply is not None:
            for paid in raced.paid:
                self._replied(paid)
        by_name = {each.deployment.instance: each for each in (hedge.first, hedge.second)}
        for place, failure in enumerate(raced.failures):
            name = failure.deployment if failure.deployment in by_name else ""
            self._failed(failure, by_name[name or list(by_name)[min(place, 1)]])
        if raced.reply is not None:
            self._replied(raced.reply)
        return raced.reply

    def _replied(self, reply: Reply) -> None:
        self.trail.attempts.append(Attempt(self.tier.name, self.role, reply=reply))

    def _left(self, error: BaseException, ask: Ask) -> None:
        """Note a call that nobody waits for any more: for whatever reason, it is paid for."""
        if (partial := broken_off(ask, error)) is not None:
            self.trail.attempts.append(
                Attempt(self.tier.name, self.role, error=error, partial=partial)
            )

    def _failed(self, error: AttemptError, ask: Ask) -> None:
        name = ask.deployment.name
        self.failures.append(error)
        partial = broken_off(ask, error)
        self.trail.attempts.append(Attempt(self.tier.name, self.role, error=error, partial=partial))
        if not error.elsewhere:
            raise error
        if error.was_crowded:
            # Others are answered there, and it will be in its turn.
            self.refused, self.patience_s = True, self.tier.tier.max_wait_s
        elif ask.placed is not None:
            replica = ask.deployment.api_base or ""
            self.tried.setdefault(name, {})[replica] = error.retry_after_s
        elif error.retry_after_s is None or self.asked[name] >= _ASKS_PER_DEPLOYMENT:
            self.out.add(name)

    def _placed(self, ask: Ask) -> Generator[Any, Any, Ask | None]:
        """Choose the replica that is asked, where there is a pool. None for none is left."""
        name, tried = ask.deployment.name, self.tried.get(ask.deployment.name, {})
        if ask.deployment.pool is None:
            return ask
        if len(tried) < _REPLICAS_PER_TURN:
            lease_s = min(self.tier.tier.timeout_s, _LONGEST_PROBE_S)
            placed: Placed | None = yield Place(
                ask.deployment, ask.request, self.trail.session, tuple(tried), lease_s
            )
            if placed is not None:
                admission = replace(ask.admission, probe=placed.probe)
                return replace(
                    ask, deployment=placed.deployment, placed=placed, admission=admission
                )
        if not tried:
            told = f"{name}: ProviderDownError: no replica of the pool can be asked now"
            self.failures.append(ProviderDownError(told, deployment=name))
        self.asked[name] += 1
        # Those that named a time are asked once more, as a deployment would be.
        later = {replica for replica, after_s in tried.items() if after_s is not None}
        if not later or self.asked[name] >= _ASKS_PER_DEPLOYMENT:
            self.out.add(name)
        for replica in later:
            del tried[replica]
        return None

    def _asking(self, standing: Standing, admission: Admission, attempt: int) -> Ask:
        left_s = self.trail.left_s()
        if left_s <= 0:
            raise self._too_late(0.0)
        timeout_s = left_s if left_s < self.tier.tier.timeout_s else None
        return Ask(
            standing.deployment,
            self.tier,
            self.request,
            self.role,
            attempt,
            self.on_chunk,
            timeout_s=timeout_s,
            admission=admission,
        )

    def _second(
        self, best: Standing, standings: Sequence[Standing], reserves: dict[str, Reserved]
    ) -> Generator[Any, Any, Ask | None]:
        """Return whom to ask too, should the first be late; None for nobody."""
        # What two deployments stream at once nobody could read.
        if not self.tier.tier.hedge or self.on_chunk is not None or best.p95_s is None:
            return None
        for each in standings:
            # No pool is the second: who of it would answer is only known when it is placed.
            is_other = each is not best and each.deployment.pool is None
            is_new = not self.asked[each.deployment.name]
            if is_other and is_new and each.is_well and each.delay_s == 0 and not each.guarded:
                reserved = yield from self._reserve(each)
                # A hedge that no budget pays for is not made; that is no reason to pass it by.
                self.till.shorts.pop(each.deployment.name, None)
                if reserved is None:
                    return None
                reserves[each.deployment.name] = reserved
                return self._asking(each, Admission(), self.trail.next_attempt + 1)
        return None

    def _tokens(self) -> int:
        if all(each.tpm is None for each in self.tier.tier.deployments):
            return 0
        usage = expected_usage(self.request, self.tier)
        return usage.input_tokens + usage.output_tokens

    def _too_late(self, wait_s: float) -> DeadlineExceededError:
        state = f"the next may be asked in {wait_s:.0f} s" if wait_s else "no time is left"
        return DeadlineExceededError(
            f"Tier {self.tier.name!r} gave no reply by the step's deadline ({state}): "
            f"{self._tried()}. Raise deadline_s, or lower timeout_s so that others get their turn.",
            self.failures,
        )

    def _all_failed(self, state: str) -> AllDeploymentsFailedError:
        return AllDeploymentsFailedError(
            f"Tier {self.tier.name!r} gave no reply ({state}): {self._tried()}. Check the "
            "providers' status and keys with `tierflow tiers`, or add a deployment to "
            f"[tiers.{self.tier.name}].",
            self.failures,
        )

    def _tried(self) -> str:
        told = "; ".join(str(error) for error in self.failures)
        return told or "all are waiting for a Retry-After, a rate limit or an open breaker"
