"""Fleet: which replica of a pool gets a request. Pure but for its lock: the clock is an argument.

The least of `backlog + prefill_weight * uncached tokens` gets it. Among equals the replica that
the session is pinned to does, else the first by rendezvous hashing, so that processes that know
nothing of each other choose the same one.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from threading import Lock
from typing import NamedTuple

from .backlog import Backlog, Pace
from .blocks import BlockChain
from .busy import Busy
from .evenness import Evenness
from .index import BlockIndex, Level
from .sessions import Sessions
from .shares import Shares
from .slots import Ranking

_MOST_UNDER_WAY = 65_536
_PIN_SHARE = 0.05
"""A pin is kept to if that costs no more than this share of reading all of the request."""

_EQUAL_S = 1e-9
_MARGIN = 0.25
"""So many replicas more must a block be worth than hold it: shares are known roughly."""

_TRUST = 0.25
_TRUST_MEMORY = 32
"""How likely a doubtful block is held, before replies tell; and after how many they have told."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a request goes. `replica`: its name, an api_base. Tokens are what is expected there."""

    replica: str
    uncached_tokens: int
    cached_tokens: int
    ticket: int


@dataclass(slots=True, eq=False)
class _Member:
    name: str
    slot: int
    backlog: Backlog


class _Match(NamedTuple):
    """How many blocks of a chain a replica seems to hold, and how many of them surely."""

    held: int
    sure: int


class _UnderWay(NamedTuple):
    member: _Member
    chain: BlockChain
    match: _Match
    arrival: int
    """When it had read the first of them, by the index."""


class Fleet:
    """The replicas of one pool, and what is known of them. Threads may share it.

    `prefill_weight`: what a token that must be read anew counts, against one that waits already.
    `index_blocks`: how many blocks of a replica are remembered while no events tell: 4 times what
    its cache holds is enough. `clock`: seconds; `heard` takes times of the same clock.
    """

    def __init__(
        self,
        *,
        prefill_weight: float,
        index_blocks: int,
        session_ttl_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._weight = prefill_weight
        self._clock = clock
        self._lock = Lock()
        self._index = BlockIndex(index_blocks)
        self._sessions = Sessions(session_ttl_s)
        self._shares = Shares()
        self._evenness = Evenness()
        self._pace = Pace()
        # How likely a replica still holds what the index is not sure of.
        self._trust = _TRUST
        self._members: dict[str, _Member] = {}
        self._slots: list[_Member | None] = []
        self._ranking = Ranking()
        self._all = 0
        self._busy = Busy()
        self._under_way: OrderedDict[int, _UnderWay] = OrderedDict()
        self._tickets = 0

    @property
    def under_way(self) -> int:
        """How many requests were placed and have not ended."""
        return len(self._under_way)

    def set_members(self, names: Sequence[str]) -> None:
        """Have these replicas and no others. Those that stay keep what is known of them."""
        with self._lock:
            for gone in [each for name, each in self._members.items() if name not in set(names)]:
                self._leave(gone)
            for name in names:
                if name not in self._members:
                    self._join(name)

    def place(
        self, chain: BlockChain, *, session: str = "", excluded: Collection[str] = ()
    ) -> Placement | None:
        """Choose a replica and count the request as sent there. None: nobody is left.

        Whoever takes the ticket says `ended` or `failed` in the end.
        """
        with self._lock:
            now = self._clock()
            among = self._all
            for name in excluded:
                if name in self._members:
                    among &= ~(1 << self._members[name].slot)
            if not among:
                return None
            self._busy.settle(now)
            self._tickets += 1
            member, match = self._best(chain, among, session, now)
            if session:
                self._sessions.pin(session, member.name, now)
            cached = chain.cached_tokens(match.held if self._trust > 0.5 else match.sure)
            uncached = chain.tokens - cached
            holding = self._index.of(member.slot)
            arrival = holding.arrival(chain.hashes[0]) if match.held else 0
            holding.sent(chain.hashes)
            member.backlog.sent(self._tickets, uncached, now)
            self._evenness.give(member.slot, uncached, len(self._members))
            self._note(member, now)
            self._under_way[self._tickets] = _UnderWay(member, chain, match, arrival)
            if len(self._under_way) > _MOST_UNDER_WAY:
                _, lost = self._under_way.popitem(last=False)
                self._arrive(lost)
            return Placement(member.name, uncached, cached, self._tickets)

    def uncached(self, chain: BlockChain) -> int:
        """Return how many tokens of a request the replica that holds most of it would read."""
        with self._lock:
            # The least comes first, and each level is of somebody.
            depth = self._index.levels(chain, self._all)[-1].depth if self._all else 0
            return chain.tokens - chain.cached_tokens(depth)

    def began(self, ticket: int) -> None:
        """Note that the first token came, so the replica has read the request."""
        with self._lock:
            if (way := self._under_way.get(ticket)) and self._is_here(way.member):
                now = self._clock()
                way.member.backlog.began(ticket, now)
                self._note(way.member, now)

    def ended(self, ticket: int, cached_tokens: int | None = None) -> None:
        """Note that a request ended well. `cached_tokens`: as the engine counted them, if it did.

        0 although some were expected: the engine forgot, or started anew, and so do we.
        """
        with self._lock:
            if (way := self._under_way.pop(ticket, None)) and self._is_here(way.member):
                now = self._clock()
                way.member.backlog.ended(ticket, now)
                self._note(way.member, now)
                if cached_tokens is not None:
                    self._compare(way, cached_tokens)
                self._index.of(way.member.slot).arrived(way.chain.hashes)

    def failed(self, ticket: int) -> None:
        """Note that a request failed: what was sent is not held there."""
        with self._lock:
            if (way := self._under_way.pop(ticket, None)) and self._is_here(way.member):
                now = self._clock()
                way.member.backlog.failed(ticket, now)
                self._note(way.member, now)
                self._index.of(way.member.slot).lost(way.chain.hashes, way.match.held)

    def sent_elsewhere(self, name: str, blocks: tuple[int, ...]) -> None:
        """Note what another process sent to a replica. For pools without events."""
        with self._lock:
            if member := self._members.get(name):
                self._index.of(member.slot).arrived(blocks)

    def heard(self, name: str, waiting: float, at: float) -> None:
        """Note how many requests waited at a replica at a time in the past."""
        with self._lock:
            if member := self._members.get(name):
                member.backlog.heard(waiting, at)
                self._note(member, self._clock())

    def stored(self, name: str, blocks: Iterable[int]) -> None:
        """Note by an engine's event that a replica holds blocks (hashes as in BlockChain)."""
        with self._lock:
            if member := self._members.get(name):
                self._index.told(member.slot).stored(blocks)

    def removed(self, name: str, blocks: Iterable[int]) -> None:
        """Note by an engine's event that a replica holds blocks no longer."""
        with self._lock:
            if member := self._members.get(name):
                self._index.told(member.slot).removed(blocks)

    def cleared(self, name: str) -> None:
        """Note by an engine's event, or a gap in them, that a replica holds no blocks."""
        with self._lock:
            if member := self._members.get(name):
                self._index.told(member.slot).cleared()

    def guessed(self, name: str) -> None:
        """Note that a replica's events were missed: what it holds is guessed by what is sent."""
        with self._lock:
            if member := self._members.get(name):
                self._index.forget(member.slot)

    def _join(self, name: str) -> None:
        if None not in self._slots:
            self._slots.append(None)
        slot = self._slots.index(None)
        now = self._clock()
        member = _Member(name, slot, Backlog(Pace(self._pace), now))
        self._slots[slot] = self._members[name] = member
        self._all |= 1 << slot
        self._busy.set(slot, now, now)
        self._ranking.join(slot, name)

    def _leave(self, member: _Member) -> None:
        del self._members[member.name]
        self._slots[member.slot] = None
        self._all &= ~(1 << member.slot)
        self._busy.leave(member.slot)
        self._ranking.leave(member.slot)
        self._index.forget(member.slot)
        self._evenness.forget(member.slot)

    def _is_here(self, member: _Member) -> bool:
        return self._slots[member.slot] is member

    def _arrive(self, way: _UnderWay) -> None:
        if self._is_here(way.member):
            self._index.of(way.member.slot).arrived(way.chain.hashes)

    def _member(self, slot: int) -> _Member:
        member = self._slots[slot]
        assert member is not None, "a slot in use has no member"  # noqa: S101
        return member

    def _compare(self, way: _UnderWay, cached_tokens: int) -> None:
        """Learn from what the engine had cached whether it is as we think."""
        if cached_tokens == 0 and way.arrival:
            self._index.of(way.member.slot).missed(way.arrival)
        sure, held = map(way.chain.cached_tokens, (way.match.sure, way.match.held))
        if held > sure:
            there = min(1.0, max(0.0, (cached_tokens - sure) / (held - sure)))
            self._trust += (there - self._trust) / _TRUST_MEMORY

    def _note(self, member: _Member, now: float) -> None:
        self._busy.set(member.slot, member.backlog.done_at, now)

    def _best(
        self, chain: BlockChain, among: int, session: str, now: float
    ) -> tuple[_Member, _Match]:
        """Return who gets it, and what of it they hold."""
        levels = self._index.levels(chain, among)
        # What nobody has read is of no other request yet.
        self._shares.count(chain.hashes[: levels[-1].depth], len(self._members))
        wanted = self._wanted(chain, among)
        slots, cost_s = self._cheapest(chain, levels, wanted, now)
        name = self._sessions.of(session, now) if session else None
        pinned = self._members.get(name) if name is not None else None
        if pinned is not None and among >> pinned.slot & 1:
            match = self._match(pinned.slot, chain, _depth_of(pinned.slot, levels))
            stay_s = self._busy.wait_s(pinned.slot, now) + self._reading_s(chain, match, wanted)
            if stay_s <= cost_s + _PIN_SHARE * self._weight * chain.tokens / self._pace.per_s:
                return pinned, match
        rested = slots & ~self._evenness.over
        slot = self._ranking.first(rested or slots, self._telling(chain, levels, wanted))
        return self._member(slot), self._match(slot, chain, _depth_of(slot, levels))

    def _cheapest(
        self, chain: BlockChain, levels: Sequence[Level], wanted: Sequence[int], now: float
    ) -> tuple[int, float]:
        """Return the slots that cost least, and how many seconds that is.

        Of all that hold equally much only the one with the least to read can be it.
        """
        best, best_s = 0, float(inf)
        for depth, slots in reversed(levels):
            least_s = self._reading_s(chain, _Match(depth, depth), wanted)
            if least_s > best_s + _EQUAL_S:
                break
            for some, wait_s in self._busy.candidates(slots, now):
                cost_s = wait_s + least_s
                if depth and some & (some - 1) == 0:
                    match = self._match(some.bit_length() - 1, chain, depth)
                    cost_s = wait_s + self._reading_s(chain, match, wanted)
                if cost_s < best_s - _EQUAL_S:
                    best, best_s = some, cost_s
                elif cost_s <= best_s + _EQUAL_S:
                    best |= some
        return best, best_s

    def _reading_s(self, chain: BlockChain, match: _Match, wanted: Sequence[int]) -> float:
        """Return what reading the rest of a chain costs, weighted."""
        tokens = float(chain.tokens - chain.cached_tokens(match.sure))
        if match.held > match.sure:
            tokens -= self._trust * chain.tokens_per_block * (match.held - match.sure)
        if wanted:
            free = sum(1 for number in wanted if number >= match.held)
            tokens -= free * chain.tokens_per_block
        return self._weight * max(0.0, tokens) / self._pace.per_s

    def _wanted(self, chain: BlockChain, among: int) -> list[int]:
        """Return which blocks of a chain too few hold, for how many requests have them.

        Whoever does not hold these is not held back by it: sooner or later they will.
        """
        replicas, found = among.bit_count(), list[int]()
        for number, block in enumerate(chain.hashes):
            worth = self._shares.worth(block, replicas)
            if worth < 1 + _MARGIN:
                break
            if (self._index.holders(block) & among).bit_count() + _MARGIN <= worth:
                found.append(number)
        return found

    def _telling(self, chain: BlockChain, levels: Sequence[Level], wanted: Sequence[int]) -> int:
        """Return the first block that no more than half of the replicas hold, nor are to hold.

        A chain without one tells nothing. Then it is as well to spread.
        """
        left = sum(slots.bit_count() for _, slots in levels)
        half = left // 2
        for depth, slots in levels:
            left -= slots.bit_count()
            if left <= half:
                number = max(depth, wanted[-1] + 1 if wanted else 0)
                if number < len(chain.hashes):
                    return chain.hashes[number]
                break
        return self._tickets

    def _match(self, slot: int, chain: BlockChain, depth: int) -> _Match:
        return _Match(depth, self._index.of(slot).sure(chain, depth))


def _depth_of(slot: int, levels: Sequence[Level]) -> int:
    return next(depth for depth, slots in levels if slots >> slot & 1)
