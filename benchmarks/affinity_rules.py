"""Rules of other routers, re-created in short. They see the engines' exact caches and backlogs.

None of them is the original's code: each is its documented rule, with its defaults, in a replay
where a request's load is its reading. Only `ours` is told nothing but delayed /metrics.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

from tierflow.routing.affinity import BlockIndex, Fleet

from .affinity_replay import BLOCK_TOKENS, Engine, Request

_SHARED = 0.05
"""A block in more than this share of all requests tells nothing of a session."""


class RandomRule:
    """Anybody."""

    def __init__(self, engines: Sequence[Engine], seed: int) -> None:
        self._count = len(engines)
        self._drawn = Random(seed)

    def choose(self, each: Request) -> int:  # noqa: ARG002  # a rule's form
        """Return a number by chance."""
        return self._drawn.randrange(self._count)


class RoundRobin:
    """One after the other."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._count = len(engines)
        self._next = -1

    def choose(self, each: Request) -> int:  # noqa: ARG002  # a rule's form
        """Return the next one's number."""
        self._next = (self._next + 1) % self._count
        return self._next


class SessionHash:
    """A conversation stays where its first request went by chance. It knows all conversations.

    Requests are of one conversation if the later one goes on from the earlier one's blocks.
    """

    def __init__(self, engines: Sequence[Engine], requests: Sequence[Request], seed: int) -> None:
        self._count = len(engines)
        self._drawn = Random(seed)
        counts = Counter(block for each in requests for block in each.chain.hashes)
        most = max(2.0, _SHARED * len(requests))
        self._shared = {block for block, count in counts.items() if count > most}
        self._places: dict[int, int] = {}

    def choose(self, each: Request) -> int:
        """Return where the conversation is."""
        own = [block for block in each.chain.hashes if block not in self._shared]
        known = next((block for block in reversed(own) if block in self._places), None)
        place = self._drawn.randrange(self._count) if known is None else self._places[known]
        self._places.update(dict.fromkeys(own, place))
        return place


class Greedy:
    """The longest match and nothing else: a warning."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._engines = engines

    def choose(self, each: Request) -> int:
        """Return the first of those that hold most."""
        depths = [engine.cache.depth(each.chain) for engine in self._engines]
        return depths.index(max(depths))


@dataclass(frozen=True, slots=True)
class SGLang:
    """sglang-router's cache_aware: the best match, unless loads lie too far apart."""

    engines: Sequence[Engine]
    match: float = 0.3
    apart: int = 64
    ratio: float = 1.5

    def choose(self, each: Request) -> int:
        """Return the best match's number if it is one, else the least loaded's."""
        loads = [len(engine.unfinished(each.at)) for engine in self.engines]
        least = loads.index(min(loads))
        if max(loads) - min(loads) > self.apart and max(loads) > self.ratio * min(loads):
            return least
        depths = [engine.cache.depth(each.chain) for engine in self.engines]
        return depths.index(max(depths)) if max(depths) > self.match * each.blocks else least


class LLMD:
    """llm-d's scorers: the largest weighted sum of match, free KV cache and short queue.

    `precise`: it knows the engines' caches; else what it sent them, in an index of `index_blocks`.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        *,
        precise: bool,
        index_blocks: int,
        weights: tuple[float, float, float] = (2, 1, 1),
    ) -> None:
        self._engines = engines
        self._precise = precise
        self._index = BlockIndex(index_blocks)
        self._weights = weights

    def choose(self, each: Request) -> int:
        """Return the number with the largest sum; the least waiting decides among equals."""
        queues = [engine.unfinished(each.at) for engine in self._engines]
        lengths = [len(queue) for queue in queues]
        shortest, longest = min(lengths), max(lengths)
        depths = self._depths(each)
        match, free, short = self._weights
        scores: list[float] = []
        for engine, queue, length, depth in zip(
            self._engines, queues, lengths, depths, strict=True
        ):
            used = min(1.0, sum(blocks for *_, blocks in queue) / engine.capacity)
            spare = (longest - length) / (longest - shortest) if longest > shortest else 1.0
            scores.append(match * depth / each.blocks + free * (1 - used) + short * spare)
        chosen = max(range(len(scores)), key=lambda at: (scores[at], -lengths[at]))
        self._index.of(chosen).sent(each.chain.hashes)
        return chosen

    def _depths(self, each: Request) -> list[int]:
        if self._precise:
            return [engine.cache.depth(each.chain) for engine in self._engines]
        levels = self._index.levels(each.chain, (1 << len(self._engines)) - 1)
        return [
            next(level.depth for level in levels if level.slots >> at & 1)
            for at in range(len(self._engines))
        ]


@dataclass(frozen=True, slots=True)
class Dynamo:
    """Dynamo's KV router at temperature 0: the least of blocks to read and blocks in use."""

    engines: Sequence[Engine]

    def choose(self, each: Request) -> int:
        """Return the number of the least."""
        costs: list[float] = []
        for engine in self.engines:
            overlap = engine.cache.depth(each.chain) * BLOCK_TOKENS
            reading = max(0.0, engine.backlog(each.at) + each.chain.tokens - overlap)
            used = sum(blocks for *_, blocks in engine.unfinished(each.at))
            costs.append(reading / BLOCK_TOKENS + used)
        return costs.index(min(costs))


@dataclass(frozen=True, slots=True)
class Exact:
    """Our rule, if it knew everything: what its estimates cost."""

    engines: Sequence[Engine]
    weight: float

    def choose(self, each: Request) -> int:
        """Return the number of the least."""
        costs = [
            engine.backlog(each.at)
            + self.weight
            * (each.chain.tokens - each.chain.cached_tokens(engine.cache.depth(each.chain)))
            for engine in self.engines
        ]
        return costs.index(min(costs))


@dataclass(frozen=True, slots=True)
class Hearing:
    """What /metrics tell: `poll_s` apart, and `delay_s` old when they are heard."""

    poll_s: float = 1.0
    delay_s: float = 0.5


class Ours:
    """tierflow's Fleet. It knows what it sent, and hears late how many requests wait.

    `events`: the engines also tell which blocks they hold, as over ZMQ.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        *,
        weight: float,
        index_blocks: int,
        hearing: Hearing,
        events: bool = False,
    ) -> None:
        self._engines = engines
        self._hearing = hearing
        self._polls = 0
        self.now = 0.0
        self.fleet = Fleet(
            prefill_weight=weight,
            index_blocks=index_blocks,
            session_ttl_s=300.0,
            clock=lambda: self.now,
        )
        names = [f"http://10.0.0.{number}:8000/v1" for number in range(len(engines))]
        self.numbers = {name: number for number, name in enumerate(names)}
        self.fleet.set_members(names)
        if events:
            for name, engine in zip(names, engines, strict=True):
                engine.cache.on_stored = partial(self.fleet.stored, name)
                engine.cache.on_removed = partial(self.fleet.removed, name)

    def choose(self, each: Request) -> int:
        """Hear what there was to be heard until now, and place the request."""
        while (heard_at := self._polls * self._hearing.poll_s) <= each.at:
            self.now = max(self.now, heard_at)
            told_at = heard_at - self._hearing.delay_s
            for name, engine in zip(self.numbers, self._engines, strict=True):
                self.fleet.heard(name, engine.waiting(told_at), told_at)
            self._polls += 1
        self.now = each.at
        placement = self.fleet.place(each.chain)
        if placement is None:
            raise RuntimeError("The fleet has no members. Give it some.")
        return self.numbers[placement.replica]
