"""Tally: what a simulation has seen: every gap between tokens, and what became of each job."""

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from math import floor

import numpy as np
from numpy.typing import NDArray

from .jobs import Ended


@dataclass(frozen=True, slots=True)
class Limits:
    """When a simulation may stop, as it can no longer hold what was promised.

    `late_firsts`, `late_gaps`: how many may be later than `ttft_ms` and longer than `gap_ms`.
    """

    ttft_ms: float
    gap_ms: float
    late_firsts: int
    late_gaps: int


@dataclass(slots=True)
class Tally:
    """Gaps are what a client sees: between two events of its stream, in ms.

    `strides`: `(shortest, growth, count, streams)` of iterations that were counted in one go.
    `broken`: the limit, "ttft" or "gap", that was broken, so that the rest was not simulated.
    """

    limits: Limits | None = None
    on_broken: Callable[[], None] = field(default=lambda: None)
    ended: list[Ended] = field(default_factory=list[Ended])
    gaps: "array[float]" = field(default_factory=lambda: array("d"))
    strides: list[tuple[float, float, int, int]] = field(
        default_factory=list[tuple[float, float, int, int]]
    )
    iterations: int = 0
    preemptions: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    busy_ms: float = 0.0
    broken: str = ""
    _late_firsts: int = 0
    _late_gaps: int = 0

    @property
    def stopped(self) -> bool:
        """Whether limits were broken."""
        return bool(self.broken)

    def first(self, ttft_ms: float) -> None:
        """Count a job's first token."""
        if self.limits is not None and ttft_ms > self.limits.ttft_ms:
            self._late_firsts += 1
            self._look()

    def gap(self, ms: float) -> None:
        """Count the time between two of a stream's events."""
        self.gaps.append(ms)
        if self.limits is not None and ms > self.limits.gap_ms:
            self._late_gaps += 1
            self._look()

    def stride(self, shortest: float, growth: float, count: int, streams: int) -> None:
        """Count the gaps of `count` iterations, each `growth` longer than the one before."""
        self.strides.append((shortest, growth, count, streams))
        if self.limits is None:
            return
        room = self.limits.gap_ms - shortest
        if room < 0:
            fine = 0
        elif growth == 0:
            fine = count
        else:
            fine = min(count, floor(room / growth) + 1)
        if fine < count:
            self._late_gaps += streams * (count - fine)
            self._look()

    def _look(self) -> None:
        limits = self.limits
        if limits is None or self.stopped:
            return
        if self._late_firsts > limits.late_firsts:
            self.broken = "ttft"
        elif self._late_gaps > limits.late_gaps:
            self.broken = "gap"
        if self.stopped:
            self.on_broken()

    def gap_quantile(self, share: float) -> float:
        """Return the gap that this share of all gaps does not exceed; 0 where there is none."""
        values: list[NDArray[np.float64]] = [np.asarray(self.gaps, np.float64)]
        weights: list[NDArray[np.int64]] = [np.ones(len(self.gaps), np.int64)]
        for shortest, growth, count, streams in self.strides:
            values.append(shortest + growth * np.arange(count, dtype=np.float64))
            weights.append(np.full(count, streams, np.int64))
        return _quantile(np.concatenate(values), np.concatenate(weights), share)

    @property
    def gap_max_ms(self) -> float:
        """The longest gap; 0 where there is none."""
        longest = (each[0] + each[1] * (each[2] - 1) for each in self.strides)
        return max(max(self.gaps, default=0.0), max(longest, default=0.0))

    def ttft_quantile(self, share: float) -> float:
        """Return the time to first token that this share of jobs does not exceed."""
        found = np.array([each.ttft_ms for each in self.ended], np.float64)
        return _quantile(found, np.ones(len(found), np.int64), share)

    @property
    def ttft_mean_ms(self) -> float:
        """Mean time to first token of the jobs that ended; 0 where none did."""
        return float(np.mean([each.ttft_ms for each in self.ended])) if self.ended else 0.0

    @property
    def hit_rate(self) -> float:
        """Share of the prompts' tokens that were found in a prefix cache."""
        return self.cached_tokens / self.prompt_tokens if self.prompt_tokens else 0.0


def _quantile(values: NDArray[np.float64], weights: NDArray[np.int64], share: float) -> float:
    if not len(values):
        return 0.0
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    at = int(np.searchsorted(reached, share * float(weights.sum()) - 1e-9))
    return float(values[order[min(at, len(order) - 1)]])
