"""Warmth: of parallel calls with a cold prefix one goes first, so that it is written once.

Providers can read a prefix only when the call that writes it has brought its first token. Here
is who leads and who waits; drivers do the waiting. Knows no provider.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from ...request import CachePlan, Usage

MOST_WAIT_S = 30.0
"""The longest that a call waits for another's first token."""

_MOST_KEYS = 10_000


@dataclass(slots=True)
class Lead:
    """A call that writes a prefix. `ended`: when others may go, or one of them must lead."""

    key: str
    thread: int = field(default_factory=threading.get_ident)
    ended: Future[None] = field(default_factory=Future[None])

    @property
    def is_here(self) -> bool:
        """Whether it runs in this thread, so that blocking it would wait for nothing."""
        return self.thread == threading.get_ident()


class Warmth:
    """Which prefixes their providers hold now. Thread-safe. `clock`: monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._warm: OrderedDict[str, tuple[float, CachePlan]] = OrderedDict()
        self._leads: dict[str, Lead] = {}
        self._refused: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def board(self, key: str) -> tuple[bool, Lead | None]:
        """Tell whether this call leads, and else whom to wait for: None if the prefix is warm."""
        with self._lock:
            if key in self._refused or self._held(key) is not None:
                return False, None
            if lead := self._leads.get(key):
                return False, lead
            lead = Lead(key)
            # So that no follower that gives up can cancel it for the others.
            lead.ended.set_running_or_notify_cancel()
            self._leads[key] = lead
            return True, lead

    def held(self, key: str) -> CachePlan | None:
        """Return the plan by which a prefix is warm, None if it is cold."""
        with self._lock:
            return self._held(key)

    def first_token(self, plan: CachePlan) -> None:
        """Note that a call with this plan brought its first token: its prefix can be read."""
        with self._lock:
            self._warm[plan.key] = self._clock() + plan.ttl_s, plan
            _newest(self._warm, plan.key)
        self.let_go(plan.key)

    def replied(self, plan: CachePlan, usage: Usage) -> None:
        """Learn from a reply. A marked prefix that was neither read nor written is too short."""
        is_kept = usage.estimated or usage.cache_read_tokens or usage.cache_write_tokens
        if is_kept or not plan.marks:
            self.first_token(plan)
            return
        with self._lock:
            self._warm.pop(plan.key, None)
            self._refused[plan.key] = None
            _newest(self._refused, plan.key)
        self.let_go(plan.key)

    def let_go(self, key: str) -> None:
        """End the lead of a key, if there is one: those who wait look again."""
        with self._lock:
            lead = self._leads.pop(key, None)
        if lead is not None:
            lead.ended.set_result(None)

    def is_refused(self, key: str) -> bool:
        """Tell whether the provider was seen not to keep this prefix."""
        return key in self._refused

    def _held(self, key: str) -> CachePlan | None:
        until, plan = self._warm.get(key, (0.0, None))
        return plan if until > self._clock() else None


def _newest(held: OrderedDict[str, Any], key: str) -> None:
    """Make a key the newest, and forget the oldest of too many."""
    held.move_to_end(key)
    while len(held) > _MOST_KEYS:
        held.popitem(last=False)
