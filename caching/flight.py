"""Flights: identical requests that are under way at the same time in one process are asked once."""

import threading
from collections.abc import Generator
from concurrent.futures import Future
from contextlib import contextmanager

from ..errors import TierflowError
from .keys import Key


class Flights:
    """Who is asking what. The first to `board` a key leads; the others get a future to wait for.

    The future ends with the leader: with None when the answer may now be in the store, with the
    leader's error when asking failed, so that followers do not all ask a provider that is down.
    """

    def __init__(self) -> None:
        self._under_way: dict[Key, Future[None]] = {}
        self._lock = threading.Lock()

    def board(self, key: Key) -> Future[None] | None:
        """Return None to the leader, who goes on inside `leading`; else the leader's future."""
        with self._lock:
            if waiting := self._under_way.get(key):
                return waiting
            flight: Future[None] = Future()
            # A running future cannot be cancelled by a follower that gives up waiting.
            flight.set_running_or_notify_cancel()
            self._under_way[key] = flight
            return None

    @contextmanager
    def leading(self, key: Key) -> Generator[None]:
        """End the flight with the block: its followers wake, or get the TierflowError it raised."""
        error: TierflowError | None = None
        try:
            yield
        except TierflowError as exc:
            error = exc
            raise
        finally:
            with self._lock:
                flight = self._under_way.pop(key)
            if error is None:
                # Also when the leader was cancelled, or its caller's own function failed: its
                # followers then ask for themselves.
                flight.set_result(None)
            else:
                flight.set_exception(error)
