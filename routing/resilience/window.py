"""Window: how many of the recent calls failed or were slow. Pure: the clock is an argument."""

from collections import deque
from typing import Literal, TypeAlias

from ...settings import BreakerSettings

Outcome: TypeAlias = Literal["well", "failed", "slow"]


class Window:
    """The outcomes of the newest `window_calls` calls that are no older than `window_s`."""

    def __init__(self, rules: BreakerSettings) -> None:
        self._rules = rules
        self._calls: deque[tuple[float, Outcome]] = deque()
        self._counts: dict[Outcome, int] = {"well": 0, "failed": 0, "slow": 0}

    def add(self, now: float, outcome: Outcome) -> Outcome:
        """Count a call. Return why it is time to open: "failed", "slow", or "well" for not."""
        self._calls.append((now, outcome))
        self._counts[outcome] += 1
        oldest = now - self._rules.window_s
        while len(self._calls) > self._rules.window_calls or self._calls[0][0] <= oldest:
            _, gone = self._calls.popleft()
            self._counts[gone] -= 1
        calls = len(self._calls)
        if calls >= self._rules.min_calls:
            if self._counts["failed"] >= self._rules.failure_rate * calls:
                return "failed"
            if self._counts["slow"] >= self._rules.slow_rate * calls:
                return "slow"
        return "well"

    def clear(self) -> None:
        """Forget all calls."""
        self._calls.clear()
        self._counts = dict.fromkeys(self._counts, 0)
