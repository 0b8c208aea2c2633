"""Pool: one pool in use by this process: its fleet, who watches it, and what its engines tell.

What is decided is decided in routing/affinity; serving hears the engines; here they meet.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any

from ...errors import EngineUnreadableError
from ...pools import Pool
from ...request import Request, Usage, canonical_json
from ...routing.affinity import (
    BlockChain,
    Fleet,
    Placement,
    Translation,
    chain_of_text,
)
from ...routing.effects import Place
from ...serving import (
    Cleared,
    Gap,
    KvEndpoint,
    KvEvent,
    KvSubscriber,
    Removed,
    Seen,
    Stored,
    Watcher,
)
from .tokenised import Tokenised, read_as

_LOG = logging.getLogger("tierflow")

TEXT_BLOCK_TOKENS = 32
"""Of a chain of text. Finer blocks would tell more than is worth reading anew."""

_OVERSIZE = 4
"""An index that is smaller than the engines' caches loses hits; one that is larger costs memory."""

_FIRST_LOOK_S = 10.0
_UNREADABLE_S = 30.0
_TOKENISERS = 2
"""Engines that are asked for token ids before a request is placed without."""


class PoolInUse:
    """A pool's replicas, from the first request on. Thread-safe.

    `clock`: monotonic seconds. `tokenised`: whose chains precise affinity goes by. `queue`: how
    many requests waited in all engines when they were last asked, and when that was.
    """

    def __init__(
        self, name: str, pool: Pool, clock: Callable[[], float], tokenised: Tokenised
    ) -> None:
        self.name, self.pool, self._clock, self._tokenised = name, pool, clock, tokenised
        self.fleet = Fleet(
            prefill_weight=pool.prefill_weight,
            index_blocks=_OVERSIZE * pool.cache_tokens // TEXT_BLOCK_TOKENS,
            session_ttl_s=pool.session_ttl_s,
            clock=clock,
        )
        self._lock = Lock()
        self.members: tuple[str, ...] = ()
        self.queue: tuple[float, float] | None = None
        self._down: frozenset[str] = frozenset()
        self._in_fleet: tuple[str, ...] = ()
        self._tells_cached = False
        self._untokenised_until = float("-inf")
        self._translations: dict[str, Translation] = {}
        self._missed = set[str]()
        """Replicas whose events were missed; until they are empty, what they hold is guessed."""

        self._set(pool.replicas, frozenset())
        self._subscriber = self._subscribed()
        self._watcher = Watcher(pool, self._found, self._seen)

    @property
    def is_precise(self) -> bool:
        """Whether its engines tell what they hold."""
        return self._subscriber is not None

    @property
    def takes_long(self) -> bool:
        """Whether placing may wait: for a look at a host's addresses, or for a tokenizer."""
        return self.is_precise or not self.members

    def chain(self, place: Place) -> BlockChain:
        """Return a request as the caches of this pool's engines see it. May ask a tokenizer."""
        request = place.request
        if self.pool.affinity == "none":
            # Nothing is looked up: the length alone counts.
            whole = chain_of_text(text_of(request), TEXT_BLOCK_TOKENS)
            return BlockChain((), TEXT_BLOCK_TOKENS, whole.tokens)
        if self._subscriber is not None and (told := self._tokenised_chain(place)) is not None:
            return told
        return chain_of_text(text_of(request), TEXT_BLOCK_TOKENS, read_as(place.deployment))

    def place(self, chain: BlockChain, session: str, barred: Sequence[str]) -> Placement | None:
        """Choose a replica, None if all are barred. Waits for the first look at a DNS name."""
        if not self.members:
            self._watcher.found.wait(_FIRST_LOOK_S)
        kept_to = "" if self.pool.affinity == "none" else session
        return self.fleet.place(chain, session=kept_to, excluded={*barred, *self._down})

    def ended(self, ticket: int, usage: Usage) -> None:
        """Note a reply, and what its engine says was cached of its prompt."""
        cached = usage.cache_read_tokens
        # Many engines never tell. Those that did once tell by 0 that they forgot.
        self._tells_cached = self._tells_cached or cached > 0
        tells = self._tells_cached and not usage.estimated
        self.fleet.ended(ticket, cached if tells else None)

    def failed(self, ticket: int, *, may_be_down: bool) -> None:
        """Note that a request got no reply."""
        self.fleet.failed(ticket)
        if may_be_down:
            self._watcher.look()

    def close(self) -> None:
        """Watch and hear no more."""
        self._watcher.close()
        if self._subscriber is not None:
            self._subscriber.close()

    def _tokenised_chain(self, place: Place) -> BlockChain | None:
        """Return a request's chain in the engines' tokens; None if none says so in time."""
        if self._clock() < self._untokenised_until:
            return None
        size = max(each.tokens_per_block for each in self._translations.values())
        up = [each for each in self.members if each not in self._down] or self.members
        # Their tokenizers are the same: work is spread, and where one is gone the next is asked.
        first = hash(place.session) % len(up)
        unread: EngineUnreadableError | None = None
        for asked in (*up[first:], *up[:first])[:_TOKENISERS]:
            try:
                return self._tokenised.chain(
                    place.deployment, place.request, size or TEXT_BLOCK_TOKENS, asked
                )
            except EngineUnreadableError as exc:
                unread = exc
        self._untokenised_until = self._clock() + _UNREADABLE_S
        _LOG.warning("%s Requests are placed by load until then.", unread)
        return None

    def _found(self, members: Sequence[str]) -> None:
        self._set(tuple(members), self._down)

    def _seen(self, seen: Sequence[Seen]) -> None:
        down = frozenset(each.replica for each in seen if not each.is_up)
        # When none can be reached the fault may be on this side.
        self._set(self.members, down if len(down) < len(seen) else frozenset())
        now, told = self._clock(), [each for each in seen if each.signals is not None]
        for each in told:
            self.fleet.heard(each.replica, each.signals.waiting if each.signals else 0.0, each.at)
        if told:
            waiting = sum(each.signals.waiting for each in told if each.signals is not None)
            self.queue = waiting, now

    def _set(self, members: tuple[str, ...], down: frozenset[str]) -> None:
        with self._lock:
            self.members, self._down = members, down
            # Who is down and comes back has an empty cache. Events say so themselves.
            is_told = self.pool.affinity == "precise"
            here = members if is_told else tuple(each for each in members if each not in down)
            if here != self._in_fleet:
                self._in_fleet = here
                self.fleet.set_members(here)

    def _subscribed(self) -> KvSubscriber | None:
        if self.pool.affinity != "precise":
            return None
        pairs = zip(self.pool.replicas, self.pool.kv_events, strict=True)
        endpoints = {replica: KvEndpoint.of(written) for replica, written in pairs}
        self._translations = {replica: Translation() for replica in endpoints}
        return KvSubscriber(endpoints, self._told)

    def _told(self, replica: str, events: Sequence[KvEvent]) -> None:
        """Take in what an engine tells, in the subscriber's thread."""
        known = self._translations[replica]
        for event in events:
            match event:
                case Stored(hashes, parent, token_ids, size, salts):
                    stored = known.stored(hashes, parent, token_ids, size, salts)
                    if replica not in self._missed:
                        self.fleet.stored(replica, stored)
                case Removed(hashes):
                    removed = known.removed(hashes)
                    if replica not in self._missed:
                        self.fleet.removed(replica, removed)
                case Cleared():
                    known.cleared()
                    self._missed.discard(replica)
                    self.fleet.cleared(replica)
                case Gap():
                    # What was stored before, and is told no more, may be what all else follows.
                    known.cleared()
                    self._missed.add(replica)
                    self.fleet.guessed(replica)


def text_of(request: Request) -> str:
    """Return a request's messages as one text, in which equal beginnings are equal."""
    return "".join(f"{each.get('role')}\n{_content(each)}\n" for each in request.messages)


def _content(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str) and set(message) == {"role", "content"}:
        return content
    return canonical_json(dict(message))
