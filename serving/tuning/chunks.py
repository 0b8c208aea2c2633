"""Chunks: the largest that keeps the gaps of running replies under a promise. Decides; asks nobody.

A chunk is what one iteration reads (max-num-batched-tokens). A larger one reads a prompt in fewer
iterations, and each of them makes every running reply wait longer. Source: Sarathi-Serve,
arXiv 2403.02310.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ChunkMeasured:
    """One candidate, with prompts joining replies. Gaps of the replies while a prompt is read, ms.

    `quiet_ms`: the median gap with no prompt. `ttft_ms`: of the prompts, their median. `joins`: how
    many prompts. `gaps`: how many gaps the percentile is of.
    """

    chunk_tokens: int
    gap_p99_ms: float
    gap_max_ms: float
    quiet_ms: float
    ttft_ms: float
    joins: int
    gaps: int


@dataclass(frozen=True, slots=True)
class ChunkChoice:
    """What to set, and why; None where no candidate keeps the promise.

    `ttft_cost`: how much longer a prompt takes than with the quickest candidate, 0.1 for 10 %.
    `gap_cut`: how many times as long the longest measured p99 gap is. None without a choice.
    """

    chunk_tokens: int | None
    reason: str
    ttft_cost: float | None = None
    gap_cut: float | None = None


def to_measure(candidates: Sequence[int], slo_gap_ms: float) -> Generator[int, ChunkMeasured, None]:
    """Yield which candidate to measure next: the largest, then by halves between kept and broken.

    Each costs a start of the engine, so that of eight candidates four are measured at most.
    """
    left = sorted(set(candidates))
    at = len(left) - 1
    while left:
        found = yield left[at]
        keeps = found.gap_p99_ms <= slo_gap_ms
        left = left[at + 1 :] if keeps else left[:at]
        at = len(left) // 2


def choose_chunk(measured: Sequence[ChunkMeasured], slo_gap_ms: float) -> ChunkChoice:
    """Return the largest candidate whose p99 gap is within the promise."""
    if not measured:
        return ChunkChoice(None, "nothing was measured")
    kept = [each for each in measured if each.gap_p99_ms <= slo_gap_ms]
    if not kept:
        least = min(measured, key=lambda each: each.gap_p99_ms)
        return ChunkChoice(
            None,
            f"none of {len(measured)} candidates keeps {slo_gap_ms:g} ms: the shortest p99 gap is "
            f"{least.gap_p99_ms:.0f} ms, at {least.chunk_tokens} tokens. With no prompt being read "
            f"it is {least.quiet_ms:.0f} ms; try smaller candidates, or fewer requests at once",
        )
    best = max(kept, key=lambda each: each.chunk_tokens)
    quickest = min(each.ttft_ms for each in measured)
    cost = best.ttft_ms / quickest - 1 if quickest else 0.0
    return ChunkChoice(
        best.chunk_tokens,
        f"the largest measured whose p99 gap, {best.gap_p99_ms:.0f} ms, is within "
        f"{slo_gap_ms:g} ms; a prompt takes {best.ttft_ms:.0f} ms, {cost:+.0%} to the quickest",
        ttft_cost=cost,
        gap_cut=max(each.gap_p99_ms for each in measured) / best.gap_p99_ms
        if best.gap_p99_ms
        else None,
    )
