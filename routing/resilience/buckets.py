"""Buckets: a token bucket whose tokens can be booked ahead. Pure: the clock is an argument."""

import math
from dataclasses import dataclass

_BURST_S = 10.0
_SPARE_S = 1.0


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit of so much a minute. A burst may take ten seconds' worth at once, and one call."""

    per_minute: float

    @property
    def rate(self) -> float:
        """What flows in, a second."""
        return self.per_minute / 60

    @property
    def capacity(self) -> float:
        """What it holds when it is full."""
        return max(1.0, self.rate * _BURST_S)

    @property
    def spare(self) -> float:
        """What a process takes ahead, so that not every call goes to the store."""
        return self.rate * _SPARE_S


@dataclass(frozen=True, slots=True)
class Level:
    """What is in a bucket. `balance`: at the time `at`; below 0 it is booked ahead."""

    balance: float = 0.0
    at: float = -math.inf

    def filled(self, limit: Limit, now: float) -> float:
        """Return what is in it now."""
        return min(limit.capacity, self.balance + limit.rate * max(0.0, now - self.at))

    def wait_s(self, limit: Limit, now: float, amount: float) -> float:
        """Return how long it takes until so much has flowed in."""
        return max(0.0, (amount - self.filled(limit, now)) / limit.rate)

    def less(self, limit: Limit, now: float, amount: float) -> "Level":
        """Return it with an amount taken, or booked ahead."""
        # A clock that went back must not fill it twice.
        at = max(self.at, now)
        return Level(self.filled(limit, now) - amount, at)
