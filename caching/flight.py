"""Flights: identical requests that are under way at the same time in one process are asked once."""

import threading
from collections.abc import Generator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..errors import BudgetExhaustedError, TierflowError
from .keys import Key


@dataclass(slots=True)
class Flight:
    """One question under way: who leads it, and what it will bring."""

    thread: int = field(default_factory=threading.get_ident)
    ended: Future[Any] = field(default_factory=Future[Any])
    result: Any = None

    @property
    def is_led_here(self) -> bool:
        """Whether the leader runs in this thread, so that blocking it would wait for ever."""
        return self.thread == threading.get_ident()


class Flights:
    """Who is asking what. The first to `board` a key leads; the others get the leader's flight.

    A flight ends with what its leader brought, with None if the leader gave up, or with the
    leader's error, so that followers do not all ask a provider that is down.
    """

    def __init__(self) -> None:
        self._under_way: dict[Key, Flight] = {}
        self._lock = threading.Lock()

    def board(self, key: Key) -> Flight | None:
        """Return None to the leader, who goes on inside `leading`; else the leader's flight."""
        with self._lock:
            if flight := self._under_way.get(key):
                return flight
            flight = Flight()
            # A running future cannot be cancelled by a follower that gives up waiting.
            flight.ended.set_running_or_notify_cancel()
            self._under_way[key] = flight
            return None

    @contextmanager
    def leading(self, key: Key) -> Generator[Flight]:
        """End the flight with the block; its `result` goes to the followers."""
        flight, error = self._under_way[key], None
        try:
            yield flight
        except BudgetExhaustedError:
            # The leader's own money is gone; a follower's may not be.
            raise
        except TierflowError as exc:
            error = exc
            raise
        finally:
            with self._lock:
                del self._under_way[key]
            if error is None:
                # Also when the leader was cancelled, or its caller's own function failed: then
                # the result is None, and its followers ask for themselves.
                flight.ended.set_result(flight.result)
            else:
                flight.ended.set_exception(error)
