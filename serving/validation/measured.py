"""Measured: what a replay of requests took, in pairs of the two ways to serve. Values only."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median


@dataclass(frozen=True, slots=True)
class Served:
    """One request as an endpoint served it. Times in ms; `gaps_ms`: between chunks of the reply.

    `said`: the reply's token ids, or its text where the engine tells none.
    """

    ttft_ms: float
    total_ms: float
    gaps_ms: tuple[float, ...]
    output_tokens: int
    said: tuple[int, ...] | str


@dataclass(frozen=True, slots=True)
class Block:
    """Requests that one endpoint served, so many at a time. `wall_ms`: from first to last."""

    wall_ms: float
    served: tuple[Served, ...]

    @property
    def tokens_per_s(self) -> float:
        """Tokens that came out, of all requests together."""
        return 1000 * sum(each.output_tokens for each in self.served) / self.wall_ms

    @property
    def ttft_ms(self) -> float:
        """Time to the first chunk, the mean over requests."""
        return fmean(each.ttft_ms for each in self.served)

    @property
    def total_ms(self) -> float:
        """From the request to the end of its reply, the mean over requests."""
        return fmean(each.total_ms for each in self.served)

    @property
    def itl_ms(self) -> float | None:
        """Time per token after the first, the mean over requests; None for replies of one."""
        # A speculating engine sends several tokens in a chunk, so gaps are no tokens.
        each = [
            (one.total_ms - one.ttft_ms) / (one.output_tokens - 1)
            for one in self.served
            if one.output_tokens > 1
        ]
        return fmean(each) if each else None


@dataclass(frozen=True, slots=True)
class Pair:
    """The same requests, served both ways one right after the other.

    `again`: by the plain way once more; None where that was not asked for.
    """

    plain: Block
    other: Block
    again: Block | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """All pairs of one slice, at one concurrency, against one other way.

    `acceptance`: the share of drafted tokens that the other engine accepted, None if it tells none.
    """

    concurrency: int
    against: str
    pairs: tuple[Pair, ...]
    acceptance: float | None = None

    @property
    def median_gap_ms(self) -> tuple[float, float] | None:
        """The median gap between chunks, plain and other; None without any."""
        plain, other = (
            [gap for block in blocks for each in block.served for gap in each.gaps_ms]
            for blocks in (
                [pair.plain for pair in self.pairs],
                [pair.other for pair in self.pairs],
            )
        )
        return (median(plain), median(other)) if plain and other else None


def ratios(pairs: Sequence[Pair], of: str) -> list[float]:
    """Return how many times as fast the other way was, pair by pair; above 1 is better.

    `of`: `tokens_per_s`, `ttft_ms`, `itl_ms` or `total_ms`. Pairs without that are left out.
    """
    found: list[float] = []
    for pair in pairs:
        plain, other = getattr(pair.plain, of), getattr(pair.other, of)
        if plain and other:
            found.append(other / plain if of == "tokens_per_s" else plain / other)
    return found
