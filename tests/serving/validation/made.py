"""Blocks and trials as a replay would measure them, made from a few numbers."""

import random
from collections.abc import Sequence

from tierflow.serving.validation.measured import Block, Pair, Served, Trial


def block(tokens_per_s: float, said: Sequence[tuple[int, ...] | str] = ((1, 2, 3),)) -> Block:
    each = 1000 * 100 / tokens_per_s
    served = tuple(
        Served(
            ttft_ms=each / 10,
            total_ms=each,
            gaps_ms=(each / 100,) * 9,
            output_tokens=100,
            said=words,
        )
        for words in said
    )
    return Block(each * len(served), served)


def trial(
    speedup: float,
    *,
    concurrency: int = 1,
    against: str = "spec",
    pairs: int = 12,
    noise: float = 0.05,
    seed: int = 0,
    different: int = 0,
    rerun: int | None = None,
) -> Trial:
    """A trial of so many pairs, of which `different` (and `rerun`, plain and plain) differ."""
    drawn = random.Random(seed)
    found: list[Pair] = []
    for at in range(pairs):
        plain = block(50 * drawn.lognormvariate(0, noise))
        ratio = speedup * drawn.lognormvariate(0, noise)
        other = block(plain.tokens_per_s * ratio, [(1, 2, 9 if at < different else 3)])
        again = None
        if rerun is not None:
            again = block(50, [(1, 7 if at < rerun else 2, 3)])
        found.append(Pair(plain, other, again))
    return Trial(concurrency, against, tuple(found))
