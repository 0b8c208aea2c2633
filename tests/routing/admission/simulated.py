"""Simulated: a deployment that is sent what a limiter lets go, on a clock of its own."""

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from tierflow.request import Usage
from tierflow.routing.admission import Limiter, Sample

REFUSED_AFTER_S = 0.01


def always(room: int) -> Callable[[float], int]:
    return lambda _: room


@dataclass
class Deployment:
    """What replies take, and how many are taken at all.

    `saturated_at`: with more calls under way it writes no more in a second. `room`: how many it has
    at a time, by the clock; others are refused. `slower`: how many times longer all take then.
    """

    saturated_at: float = math.inf
    room: Callable[[float], int] = lambda _: 10**6
    slower: Callable[[float], float] = lambda _: 1.0
    rng: random.Random = field(default_factory=lambda: random.Random(1))

    def takes_s(self, now: float, under_way: int, tokens: int) -> float:
        crowded = max(1.0, under_way / self.saturated_at)
        chance = self.rng.lognormvariate(0, 0.4)
        return (0.1 + 0.02 * tokens) * crowded * self.slower(now) * chance


@dataclass
class Run:
    """A batch that never ends. `limits`: the limit at each end of a call, with the time."""

    limiter: Limiter
    deployment: Deployment
    now: float = 0.0
    replies: int = 0
    refusals: int = 0
    crowded: int = 0
    limits: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])

    def until(self, end: float) -> "Run":
        """Go on for so many seconds."""
        under_way = 0
        room_taken = 0
        ends: list[tuple[float, int, float, int, int]] = []
        number = 0
        while self.now < end:
            while under_way < self.limiter.places and not self.limiter.hold_s(self.now):
                under_way += 1
                number += 1
                tokens = self.deployment.rng.choice([5, 20, 50, 200])
                if room_taken >= self.deployment.room(self.now):
                    over, tokens = self.now + REFUSED_AFTER_S, 0
                else:
                    room_taken += 1
                    over = self.now + self.deployment.takes_s(self.now, under_way, tokens)
                heapq.heappush(ends, (over, number, self.now, under_way, tokens))
            if not ends:
                self.now += self.limiter.hold_s(self.now)
                continue
            self.now, _, sent_at, at_once, tokens = heapq.heappop(ends)
            if tokens:
                room_taken -= 1
                sample = Sample(
                    "step", (at_once + under_way) / 2, self.now - sent_at, Usage(100, tokens)
                )
                self.limiter.replied(self.now, sent_at, under_way, sample)
                self.replies += 1
            else:
                self.crowded += self.limiter.refused(self.now, sent_at, under_way)
                self.refusals += 1
            under_way -= 1
            self.limits.append((self.now, self.limiter.places))
        return self

    def mean_limit(self, since: float) -> float:
        """The limit on average since then, by time."""
        kept = [(at, limit) for at, limit in self.limits if at >= since]
        pairs = pairwise(kept)
        total = sum(limit * (later - at) for (at, limit), (later, _) in pairs)
        return total / (kept[-1][0] - kept[0][0])
