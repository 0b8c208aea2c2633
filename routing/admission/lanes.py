"""Lanes: requests that read much are kept apart from those that write. Pure: decides by numbers.

What counts is the uncached part: a long prompt whose prefix the engine holds is read in no time.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from ...pools import Pool

LaneName: TypeAlias = Literal["prefill", "decode"]


@dataclass(frozen=True, slots=True)
class Lanes:
    """How a pool keeps them apart. Tokens: uncached ones.

    `heavy_tokens`: who has more is in the prefill lane. `at_once`: how many such tokens may be
    under way at once beside what writes; None for any number.
    """

    heavy_tokens: int = 0
    at_once: int | None = None

    def lane(self, tokens: int) -> LaneName:
        """Return a request's lane."""
        return "prefill" if self.at_once is not None and tokens > self.heavy_tokens else "decode"

    def fits(self, tokens: int, under_way: int) -> bool:
        """Tell whether a request of the prefill lane may go; one beyond all bounds goes alone."""
        return self.at_once is None or under_way == 0 or under_way + tokens <= self.at_once


def lanes_of(pool: Pool | None) -> Lanes:
    """Return a pool's lanes; without a pool, or a limit, there is only one."""
    if pool is None or pool.prefill_tokens_at_once is None:
        return Lanes()
    return Lanes(pool.prefill_heavy_tokens, pool.prefill_tokens_at_once)


def pool_for(name: str, pool: Pool, tokens: int) -> str:
    """Return the pool that gets a request: its own, or the one set aside for long readings."""
    if pool.prefill_lane is not None and tokens > pool.prefill_heavy_tokens:
        return pool.prefill_lane
    return name
