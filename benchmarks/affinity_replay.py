"""Replay: requests over replicas that cache prefixes and read one request after the other.

A replica keeps the blocks that were used last, and only full ones; it reads what it does not hold
at a fixed pace, in the order requests come. Time to first token is waiting and reading.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Protocol

from tierflow.percentiles import percentile
from tierflow.routing.affinity import BlockChain, next_hash
from tierflow.serving.simulation import Job

BLOCK_TOKENS = 512


@dataclass(frozen=True, slots=True)
class Request:
    """A request of a trace. `at`: seconds. `blocks`: how many it has, with its tail."""

    at: float
    chain: BlockChain
    blocks: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of a replay. Waiting and reading in seconds; work is what replicas read."""

    hit_rate: float
    work_max_over_mean: float
    ttft_mean_s: float
    ttft_p95_s: float


def requests_of(jobs: Iterable[Job]) -> list[Request]:
    """Return the requests of a trace, in its order."""
    return [request(each.at_ms / 1000, each.input_tokens, each.blocks) for each in jobs]


def request(at: float, tokens: int, ids: Sequence[int]) -> Request:
    """Return a request whose blocks have ids. Only full ones are cached."""
    parent, hashes = 0, list[int]()
    for each in ids[: tokens // BLOCK_TOKENS]:
        parent = next_hash(parent, each.to_bytes(8, "little", signed=True))
        hashes.append(parent)
    chain = BlockChain(tuple(hashes), BLOCK_TOKENS, tokens)
    return Request(at, chain, max(1, -(-tokens // BLOCK_TOKENS)))


class Cache:
    """A prefix cache of so many blocks. The one that was not used for longest goes first."""

    def __init__(self, blocks: int) -> None:
        self._most = blocks
        self._held: OrderedDict[int, None] = OrderedDict()
        self.on_stored: Callable[[list[int]], None] | None = None
        self.on_removed: Callable[[list[int]], None] | None = None

    def depth(self, chain: BlockChain) -> int:
        """Return how many blocks of a chain it holds, from the first on."""
        depth = 0
        for block in chain.hashes:
            if block not in self._held:
                break
            depth += 1
        return depth

    def use(self, chain: BlockChain) -> None:
        """Hold the blocks of a chain. Its end goes before its beginning, as in vLLM."""
        held, new, gone = self._held, list[int](), list[int]()
        for block in reversed(chain.hashes):
            if block in held:
                held.move_to_end(block)
            else:
                held[block] = None
                new.append(block)
        while len(held) > self._most:
            gone.append(held.popitem(last=False)[0])
        if self.on_stored is not None and self.on_removed is not None:
            self.on_stored(new)
            self.on_removed(gone)


class Engine:
    """A replica: its cache and its queue. `pace`: tokens a second."""

    def __init__(self, blocks: int, pace: float) -> None:
        self.cache = Cache(blocks)
        self.capacity = blocks
        self.pace = pace
        self.free_at = 0.0
        self.work = 0.0
        # (arrival, start, done, blocks) of what was not done when somebody looked last.
        self._queue: deque[tuple[float, float, float, int]] = deque()
        self._unheard: deque[tuple[float, float]] = deque()

    def serve(self, each: Request) -> tuple[int, float]:
        """Take a request. Return how many of its blocks were held, and its time to first token."""
        chain = each.chain
        cached = chain.cached_tokens(self.cache.depth(chain))
        self.cache.use(chain)
        start = max(each.at, self.free_at)
        self.free_at = start + (chain.tokens - cached) / self.pace
        self.work += chain.tokens - cached
        self._queue.append((each.at, start, self.free_at, each.blocks))
        self._unheard.append((each.at, start))
        return cached // BLOCK_TOKENS, self.free_at - each.at

    def backlog(self, now: float) -> float:
        """Return exactly how many tokens it still has to read."""
        return max(0.0, self.free_at - now) * self.pace

    def unfinished(self, now: float) -> deque[tuple[float, float, float, int]]:
        """Return what it has not read to the end."""
        while self._queue and self._queue[0][2] <= now:
            self._queue.popleft()
        return self._queue

    def waiting(self, at: float) -> int:
        """Return how many requests it had not begun to read: the gauge of /metrics.

        It may be asked of the past, but not of before what it was asked of last.
        """
        while self._unheard and self._unheard[0][1] <= at:
            self._unheard.popleft()
        return sum(1 for arrival, _ in self._unheard if arrival <= at)


class Rule(Protocol):
    """Who gets a request."""

    def choose(self, each: Request) -> int:
        """Return the number of the engine that gets it."""
        ...


MakeRule = Callable[[Sequence[Engine]], Rule]


def pace_for(requests: Sequence[Request], replicas: int, load: float) -> float:
    """Return the pace at which so many replicas have such a load, if nothing is ever cached."""
    tokens = sum(each.chain.tokens for each in requests)
    span_s = max(1.0, requests[-1].at - requests[0].at)
    return max(1.0, tokens) / (span_s * replicas * load)


def replay(
    requests: Sequence[Request], replicas: int, blocks: int, pace: float, make: MakeRule
) -> Figures:
    """Send all requests where the rule says."""
    engines = [Engine(blocks, pace) for _ in range(replicas)]
    rule = make(engines)
    hits, times = 0, list[float]()
    for each in requests:
        found, ttft_s = engines[rule.choose(each)].serve(each)
        hits += found
        times.append(ttft_s)
    work = [each.work for each in engines]
    return Figures(
        hits / sum(each.blocks for each in requests),
        max(work) / (sum(work) / len(work)),
        fmean(times),
        percentile(times, 0.95),
    )


def pooled_bound(requests: Iterable[Request], blocks: int) -> float:
    """Return the hit rate of one cache of all replicas' size."""
    cache, hits, total = Cache(blocks), 0, 0
    for each in requests:
        hits += each.chain.cached_tokens(cache.depth(each.chain)) // BLOCK_TOKENS
        total += each.blocks
        cache.use(each.chain)
    return hits / total
