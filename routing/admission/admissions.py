"""Admissions: which of the calls that batches want to make may go, in this process. Never waits.

Each deployment has a limit (limiter.py) that all batches of the process share, and gives places out
in turn (lines.py). Carries out the deciding part of Seated; drivers do the waiting.
"""

import math
import threading
import time
from asyncio import CancelledError
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from itertools import count

from ...errors import AttemptTimeoutError, ProviderDownError, RateLimitedError
from ...pools import Pool
from ...request import Reply, Request
from ...settings import Deployment
from ..effects import Ask, Seat, Seated, Standing
from ..expecting import sent_tokens
from .lanes import Lanes, lanes_of
from .limiter import MOST_HOLD_S, Limiter
from .lines import Lines, Waiter
from .stays import Sample


def _all_uncached(_: Deployment, request: Request) -> int:
    return sent_tokens(request)


def _no_queue(_: Deployment) -> tuple[float, float] | None:
    return None


@dataclass(slots=True)
class _Desk:
    """What is known of one deployment. `under_way`: by ticket. `reading`: uncached tokens."""

    limiter: Limiter
    lanes: Lanes
    lines: Lines = field(default_factory=Lines)
    under_way: dict[int, "_UnderWay"] = field(default_factory=dict[int, "_UnderWay"])
    reading: int = 0
    told_at: float = -math.inf


@dataclass(slots=True)
class _UnderWay:
    desk: _Desk
    waiter: Waiter
    sent_at: float
    at_once: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A call that wants a seat. `seated`: done with it. `until`: when it is given up."""

    deployment: Deployment
    waiter: Waiter
    until: float
    seated: "Future[Seat]"


class Admissions:
    """The limits and lines of all deployments that batches ask. Thread-safe.

    `most`: calls under way to one deployment, at the most. `pools`: settings of those that
    deployments name. `uncached`: how many tokens of a request an engine would have to read anew;
    may take long. `queue`: from memory, how many requests wait in a deployment's engines, and when
    that was told; None where nobody has.
    """

    def __init__(
        self,
        most: int,
        pools: Mapping[str, Pool] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        uncached: Callable[[Deployment, Request], int] = _all_uncached,
        queue: Callable[[Deployment], tuple[float, float] | None] = _no_queue,
    ) -> None:
        self._most, self._pools, self._clock = most, pools or {}, clock
        self._uncached, self._queue = uncached, queue
        self._desks: dict[str, _Desk] = {}
        self._seats: dict[int, _UnderWay] = {}
        self._asked_last: dict[str, str] = {}
        self._futures: dict[int, Future[Seat]] = {}
        self._over: set[int] = set()
        self._numbers = count(1)
        self._lock = threading.Lock()

    def must_read(self, seated: Seated) -> bool:
        """Tell whether it counts how many tokens of a call are uncached, for its lane."""
        with self._lock:
            return self._desk(seated.deployment).lanes.at_once is not None

    def uncached(self, seated: Seated) -> int:
        """Return how many tokens of a call are uncached. May take long."""
        return self._uncached(seated.deployment, seated.request)

    def join(self, seated: Seated, tokens: int = 0) -> Waiting:
        """Have a call wait in its step's line; it may have its seat at once.

        `tokens`: uncached. Raises CancelledError where its batch was ended, as waiting for
        `seated` does then.
        """
        deployment, step = seated.deployment, seated.request.step
        future: Future[Seat] = Future()
        # So that who waits for it may give up waiting without cancelling it.
        future.set_running_or_notify_cancel()
        with self._lock:
            if seated.batch in self._over:
                raise CancelledError
            desk = self._desk(deployment)
            lane = desk.lanes.lane(tokens)
            reads = tokens if lane == "prefill" else 0
            waiter = Waiter(next(self._numbers), step, reads, lane, seated.batch)
            desk.lines.join(waiter, again=seated.again)
            self._asked_last[step] = deployment.name
            self._futures[waiter.number] = future
        waiting = Waiting(deployment, waiter, self._clock() + seated.most_wait_s, future)
        self.look(waiting, waited=False)
        return waiting

    def patience_s(self, waiting: Waiting) -> float:
        """Return after how long to `look` again, should nothing happen; 0 for giving up."""
        now = self._clock()
        with self._lock:
            hold_s = self._desk(waiting.deployment).limiter.hold_s(now)
        # A hold that begins meanwhile has an end that nobody is woken at.
        return min(max(0.0, waiting.until - now), hold_s or MOST_HOLD_S)

    def look(self, waiting: Waiting, *, waited: bool = True) -> None:
        """Give out the places that are free at a call's deployment."""
        with self._lock:
            desk = self._desk(waiting.deployment)
        self._give_out(desk, None if waited else waiting.waiter.number)

    def end(self, batch: int) -> None:
        """Let none of a batch's calls go that have no seat yet: nobody wants them any more."""
        with self._lock:
            self._over.add(batch)
            unwanted = [
                (desk, waiter)
                for desk in self._desks.values()
                for waiter in desk.lines.of_batch(batch)
            ]
            futures = [self._futures.pop(waiter.number) for _, waiter in unwanted]
            for desk, waiter in unwanted:
                desk.lines.leave(waiter)
        for future in futures:
            future.set_exception(CancelledError())

    def give_up(self, waiting: Waiting) -> None:
        """Take a call out of its line, or back out of its seat."""
        with self._lock:
            is_seated = self._futures.pop(waiting.waiter.number, None) is None
            if not is_seated:
                self._desk(waiting.deployment).lines.leave(waiting.waiter)
        if is_seated:
            self.leave(waiting.waiter.number)

    def leave(self, ticket: int) -> None:
        """Give a seat back; who waits may have it."""
        with self._lock:
            seat = self._seats.pop(ticket, None)
            if seat is None:
                return
            del seat.desk.under_way[ticket]
            seat.desk.reading -= seat.waiter.tokens
            seat.desk.lines.ended(seat.waiter.step)
        self._give_out(seat.desk)

    def began(self, ask: Ask) -> None:
        """Note the first token of a reply: its request has been read."""
        with self._lock:
            seat = self._seats.get(ask.admission.seat)
            if seat is None or not seat.waiter.tokens:
                return
            seat.desk.reading -= seat.waiter.tokens
            seat.waiter = replace(seat.waiter, tokens=0)
        self._give_out(seat.desk)

    def replied(self, ask: Ask, reply: Reply) -> None:
        """Note a reply, and how many requests wait in the engine if that was told anew."""
        now, sample = self._clock(), None
        with self._lock:
            seat = self._seats.get(ask.admission.seat)
            if seat is None:
                return
            under_way = len(seat.desk.under_way)
            # A stream takes as long as whoever receives it.
            if ask.on_chunk is None:
                at_once = (seat.at_once + under_way) / 2
                sample = Sample(ask.request.step, at_once, reply.latency_ms / 1000, reply.usage)
            seat.desk.limiter.replied(now, seat.sent_at, under_way, sample)
        # Each telling counts once: a queue stands if it is there at two of them.
        if (told := self._queue(ask.deployment)) is not None:
            with self._lock:
                if told[1] > seat.desk.told_at:
                    seat.desk.told_at = told[1]
                    seat.desk.limiter.queued(now, told[0], len(seat.desk.under_way))

    def failed(self, ask: Ask, error: BaseException) -> None:
        """Note how a call ended that has no reply, and tell the error whether it was crowded out.

        Then it is held against nobody: too many were sent, and the call is worth making again.
        """
        now = self._clock()
        with self._lock:
            seat = self._seats.get(ask.admission.seat)
            if seat is None:
                return
            limiter, under_way = seat.desk.limiter, len(seat.desk.under_way)
            if isinstance(error, RateLimitedError):
                error.was_crowded = limiter.refused(now, seat.sent_at, under_way)
                if error.was_crowded and error.retry_after_s is None:
                    error.counts_against_deployment = False
            elif _is_strain(ask, error):
                limiter.strained(now, seat.sent_at)

    def crowded(self, standings: Sequence[Standing]) -> tuple[Standing, ...]:
        """Return the standings with how crowded each deployment is."""
        with self._lock:
            desks = [self._desk(each.deployment) for each in standings]
            return tuple(
                replace(each, crowd=(len(desk.under_way) + len(desk.lines)) / desk.limiter.places)
                for each, desk in zip(standings, desks, strict=True)
            )

    def limit_of(self, step: str) -> int | None:
        """Return how many calls may be under way to whom a step asked last; None for nobody yet."""
        with self._lock:
            name = self._asked_last.get(step)
            return None if name is None else self._desks[name].limiter.places

    def _desk(self, deployment: Deployment) -> _Desk:
        desk = self._desks.get(deployment.name)
        if desk is None:
            pool = self._pools.get(deployment.pool) if deployment.pool else None
            desk = self._desks[deployment.name] = _Desk(Limiter(self._most), lanes_of(pool))
        return desk

    def _give_out(self, desk: _Desk, came: int | None = None) -> None:
        """Give out a desk's free places. `came`: who has only just joined its line."""
        now, seated = self._clock(), list[tuple[Future[Seat], Seat]]()
        with self._lock:
            while len(desk.under_way) < desk.limiter.places and not desk.limiter.hold_s(now):
                waiter = desk.lines.next(lambda tokens: desk.lanes.fits(tokens, desk.reading))
                if waiter is None:
                    break
                at_once = len(desk.under_way) + 1
                here = _UnderWay(desk, waiter, now, at_once)
                desk.under_way[waiter.number] = self._seats[waiter.number] = here
                desk.reading += waiter.tokens
                seat = Seat(waiter.number, waited=waiter.number != came)
                seated.append((self._futures.pop(waiter.number), seat))
        # Not under the lock: it wakes others.
        for future, seat in seated:
            future.set_result(seat)


def _is_strain(ask: Ask, error: BaseException) -> bool:
    if isinstance(error, AttemptTimeoutError):
        # The step's own deadline says nothing of the deployment.
        return ask.timeout_s is None
    return isinstance(error, ProviderDownError) and error.is_overload
