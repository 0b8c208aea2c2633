"""Fleet: which replica of a pool gets a request. Pure but for its lock: the clock is an argument.

The least of `backlog + prefill_weight * uncached tokens` gets it. Among equals the replica that
the session is pinned to does, else the first by rendezvous hashing, so that processes that know
nothing of each other choose the same one.
"""

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from threading import Lock

from .backlog import Backlog, Pace
from .blocks import BlockChain
from .index import BlockIndex
from .sessions import Sessions

_MOST_UNDER_WAY = 65_536
_PIN_SHARE = 0.05
"""A pin is kept to if that costs no more than this share of reading all of the request."""

_MOST_COMPARED = 64
_WORD = (1 << 64) - 1
_ODD = 0x9E3779B97F4A7C15


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
    seed: int
    backlog: Backlog
    listed_at: float = 0.0
    """By what it stands in the list of busy ones."""


@dataclass(frozen=True, slots=True)
class _UnderWay:
    member: _Member
    blocks: tuple[int, ...]
    held: int
    """How many of the blocks it held."""
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
        self._pace = Pace()
        self._members: dict[str, _Member] = {}
        self._slots: list[_Member | None] = []
        self._all = 0
        self._idle = 0
        # (done_at, slot) of those that read, the first to be done first.
        self._busy: list[tuple[float, int]] = []
        self._under_way: OrderedDict[int, _UnderWay] = OrderedDict()
        self._tickets = 0

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
            self._settle(now)
            self._tickets += 1
            member, depth = self._best(chain, among, session, now)
            if session:
                self._sessions.pin(session, member.name, now)
            cached = chain.cached_tokens(depth)
            uncached = chain.tokens - cached
            arrival = self._index.arrival(member.slot, chain.hashes[0]) if depth else 0
            self._index.sent(member.slot, chain.hashes)
            member.backlog.sent(self._tickets, uncached, now)
            self._list(member, now)
            self._under_way[self._tickets] = _UnderWay(member, chain.hashes, depth, arrival)
            if len(self._under_way) > _MOST_UNDER_WAY:
                _, lost = self._under_way.popitem(last=False)
                self._arrive(lost)
            return Placement(member.name, uncached, cached, self._tickets)

    def uncached(self, chain: BlockChain) -> int:
        """Return how many tokens of a request the replica that holds most of it would read."""
        with self._lock:
            levels, _ = self._index.levels(chain, self._all)
            depth = max((depth for depth, slots in levels if slots), default=0)
            return chain.tokens - chain.cached_tokens(depth)

    def began(self, ticket: int) -> None:
        """Note that the first token came, so the replica has read the request."""
        with self._lock:
            if (way := self._under_way.get(ticket)) and self._is_here(way.member):
                now = self._clock()
                way.member.backlog.began(ticket, now)
                self._list(way.member, now)

    def ended(self, ticket: int, cached_tokens: int | None = None) -> None:
        """Note that a request ended well. `cached_tokens`: as the engine counted them, if it did.

        0 although some were expected: the engine forgot, or started anew, and so do we.
        """
        with self._lock:
            if (way := self._under_way.pop(ticket, None)) and self._is_here(way.member):
                now = self._clock()
                way.member.backlog.ended(ticket, now)
                self._list(way.member, now)
                if cached_tokens == 0 and way.arrival:
                    self._index.missed(way.member.slot, way.arrival)
                self._index.arrived(way.member.slot, way.blocks)

    def failed(self, ticket: int) -> None:
        """Note that a request failed: what was sent is not held there."""
        with self._lock:
            if (way := self._under_way.pop(ticket, None)) and self._is_here(way.member):
                now = self._clock()
                way.member.backlog.failed(ticket, now)
                self._list(way.member, now)
                self._index.lost(way.member.slot, way.blocks, way.held)

    def sent_elsewhere(self, name: str, blocks: tuple[int, ...]) -> None:
        """Note what another process sent to a replica. For pools without events."""
        with self._lock:
            if member := self._members.get(name):
                self._index.arrived(member.slot, blocks)

    def heard(self, name: str, waiting: float, at: float) -> None:
        """Note how many requests waited at a replica at a time in the past."""
        with self._lock:
            if member := self._members.get(name):
                member.backlog.heard(waiting, at)
                self._list(member, self._clock())

    def stored(self, name: str, blocks: Iterable[int]) -> None:
        """Note by an engine's event that a replica holds blocks (hashes as in BlockChain)."""
        with self._lock:
            if member := self._members.get(name):
                self._index.stored(member.slot, blocks)

    def removed(self, name: str, blocks: Iterable[int]) -> None:
        """Note by an engine's event that a replica holds blocks no longer."""
        with self._lock:
            if member := self._members.get(name):
                self._index.removed(member.slot, blocks)

    def cleared(self, name: str) -> None:
        """Note by an engine's event, or a gap in them, that a replica holds no blocks."""
        with self._lock:
            if member := self._members.get(name):
                self._index.cleared(member.slot)

    def _join(self, name: str) -> None:
        if None not in self._slots:
            self._slots.append(None)
        slot = self._slots.index(None)
        seed = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")
        now = self._clock()
        member = _Member(name, slot, seed, Backlog(Pace(self._pace), now))
        self._slots[slot] = self._members[name] = member
        self._all |= 1 << slot
        self._idle |= 1 << slot

    def _leave(self, member: _Member) -> None:
        self._unlist(member)
        del self._members[member.name]
        self._slots[member.slot] = None
        self._all &= ~(1 << member.slot)
        self._idle &= ~(1 << member.slot)
        self._index.forget(member.slot)

    def _is_here(self, member: _Member) -> bool:
        return self._slots[member.slot] is member

    def _arrive(self, way: _UnderWay) -> None:
        if self._is_here(way.member):
            self._index.arrived(way.member.slot, way.blocks)

    def _member(self, slot: int) -> _Member:
        member = self._slots[slot]
        assert member is not None, "a slot in use has no member"  # noqa: S101
        return member

    def _settle(self, now: float) -> None:
        """Take those that are done reading from the list of busy ones."""
        done = bisect_left(self._busy, (now, -1))
        for _, slot in self._busy[:done]:
            self._idle |= 1 << slot
        del self._busy[:done]

    def _list(self, member: _Member, now: float) -> None:
        self._unlist(member)
        if member.backlog.done_at > now:
            member.listed_at = member.backlog.done_at
            insort(self._busy, (member.listed_at, member.slot))
            self._idle &= ~(1 << member.slot)
        else:
            self._idle |= 1 << member.slot

    def _unlist(self, member: _Member) -> None:
        if not self._idle >> member.slot & 1:
            del self._busy[bisect_left(self._busy, (member.listed_at, member.slot))]

    def _best(self, chain: BlockChain, among: int, session: str, now: float) -> tuple[_Member, int]:
        """Return who gets it, and how many of its blocks they hold."""
        levels, telling = self._index.levels(chain, among)
        per_token_s = self._weight / self._pace.per_s
        best, best_depth, best_s = 0, 0, float("inf")
        for depth, slots in reversed(levels):
            reading_s = per_token_s * (chain.tokens - chain.cached_tokens(depth))
            if reading_s >= best_s:
                break
            if idle := slots & self._idle:
                best, best_depth, best_s = idle, depth, reading_s
                break
            done_at, slot = self._first_done(slots)
            if (cost_s := done_at - now + reading_s) < best_s:
                best, best_depth, best_s = 1 << slot, depth, cost_s
        if session and (name := self._sessions.of(session, now)) in self._members:
            pinned = self._members[name]
            slack_s = _PIN_SHARE * per_token_s * chain.tokens
            for depth, slots in levels:
                if slots >> pinned.slot & 1:
                    wait_s = max(0.0, pinned.backlog.done_at - now)
                    reading_s = per_token_s * (chain.tokens - chain.cached_tokens(depth))
                    if wait_s + reading_s <= best_s + slack_s:
                        return pinned, depth
        # What everybody holds tells nothing, and then it is as well to spread.
        key = telling if telling is not None else self._tickets * _ODD
        return self._member(self._ranked_first(best, key)), best_depth

    def _first_done(self, slots: int) -> tuple[float, int]:
        """Return the least busy of slots that are all busy: by them or by the list."""
        count = slots.bit_count()
        if count * count <= len(self._busy):
            return min((self._member(slot).listed_at, slot) for slot in bits(slots))
        return next(each for each in self._busy if slots >> each[1] & 1)

    def _ranked_first(self, slots: int, key: int) -> int:
        """Return the first of slots by rendezvous hashing."""
        if slots & (slots - 1) == 0:
            return slots.bit_length() - 1
        return max(bits(slots), key=lambda slot: _mixed(self._member(slot).seed ^ key))


def bits(slots: int) -> Iterator[int]:
    """Yield the slots of a set, the lowest first."""
    while slots:
        lowest = slots & -slots
        yield lowest.bit_length() - 1
        slots ^= lowest


def _mixed(word: int) -> int:
    """Spread a word's bits over 64. Source: the finaliser of MurmurHash3."""
    word &= _WORD
    word = (word ^ word >> 33) * 0xFF51AFD7ED558CCD & _WORD
    word = (word ^ word >> 33) * 0xC4CEB9FE1A85EC53 & _WORD
    return word ^ word >> 33
