"""Concurrency: where more requests at once stop bringing more tokens. Decides; asks nobody."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

GAIN = 0.05
_FLAT = 2


@dataclass(frozen=True, slots=True)
class LevelMeasured:
    """So many requests under way at all times: tokens that came out, and what each felt, ms."""

    concurrency: int
    tokens_per_s: float
    ttft_ms: float
    gap_p99_ms: float


@dataclass(frozen=True, slots=True)
class LevelChoice:
    """How many requests to have under way at most, and why; None where nothing was measured."""

    concurrency: int | None
    reason: str


def to_try(most: int, gain: float = GAIN) -> Generator[int, LevelMeasured, None]:
    """Yield 1, 2, 4 and so on, until two doublings in a row brought less than `gain`, or `most`."""
    level, best, flat = 1, 0.0, 0
    while level <= most and flat < _FLAT:
        found = yield level
        flat = flat + 1 if found.tokens_per_s < best * (1 + gain) else 0
        best = max(best, found.tokens_per_s)
        level *= 2


def choose_level(
    measured: Sequence[LevelMeasured], slo_gap_ms: float | None = None, gain: float = GAIN
) -> LevelChoice:
    """Return the knee: the fewest at once that are within `gain` of the most tokens/s measured.

    With a promised gap, levels that break it do not count.
    """
    levels = sorted(measured, key=lambda each: each.concurrency)
    if not levels:
        return LevelChoice(None, "nothing was measured")
    kept = [each for each in levels if slo_gap_ms is None or each.gap_p99_ms <= slo_gap_ms]
    if not kept:
        return LevelChoice(
            None,
            f"no level keeps {slo_gap_ms:g} ms: with {levels[0].concurrency} at a time the p99 gap "
            f"is {levels[0].gap_p99_ms:.0f} ms already",
        )
    most = max(each.tokens_per_s for each in kept)
    knee = next(each for each in kept if each.tokens_per_s * (1 + gain) > most)
    beyond = [each for each in levels if each.concurrency > knee.concurrency]
    why = (
        f"{knee.tokens_per_s:.0f} tokens/s; no more at once that was measured brings {gain:.0%} on "
        "top"
    )
    if not beyond:
        why = f"{knee.tokens_per_s:.0f} tokens/s, and more at once was not measured"
    elif len(kept) < len(levels):
        why += f" within {slo_gap_ms:g} ms of gap"
    return LevelChoice(knee.concurrency, why)
