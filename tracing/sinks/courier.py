"""Courier: brings posts to one server, one after the other, in a thread that nobody waits for.

What cannot be brought is lost, and a log line says so: no step is slower for it, and no process
ends later than `LAST_S` for all of them together.
"""

import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from weakref import WeakSet

import httpx

from .sink import Post

_LOG = logging.getLogger("tierflow")

PAUSES_S = (1.0, 4.0, 15.0, 30.0)
"""Between the tries of one post. A server that is down for a minute loses nothing."""

MOST_WAITING = 1000
LAST_S = 2.0
_LONGEST_PAUSE_S = 60.0
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


class Courier:
    """Sends to one server. Thread-safe; never raises. `name`: of the sink, for the log.

    `open_client`: makes the client, with the server's URL and keys. `pauses`: seconds before each
    further try. `most`: how many posts wait at most. `pid`: of the process that it works in.
    """

    def __init__(
        self,
        name: str,
        open_client: Callable[[], httpx.Client],
        *,
        pauses: Sequence[float] = PAUSES_S,
        most: int = MOST_WAITING,
    ) -> None:
        self.name = name
        self._open_client, self._pauses, self._most = open_client, pauses, most
        self._waiting: deque[Post] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_closing = False
        self._said: set[str] = set()
        self.pid = os.getpid()
        _COURIERS.add(self)

    def send(self, post: Post) -> None:
        """Have a post brought to the server. Returns at once."""
        with self._changed:
            if len(self._waiting) >= self._most:
                self._say(f"{self._most:,} evaluations wait already, so this one is not sent")
                return
            self._waiting.append(post)
            if self._thread is None or not self._thread.is_alive():
                self._is_closing = False
                self._thread = threading.Thread(
                    target=self._work, name=f"tierflow-sink-{self.name}", daemon=True
                )
                self._thread.start()
            self._changed.notify_all()

    def hurry(self) -> None:
        """Have what waits tried once more, now."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()

    def close(self, patience_s: float = LAST_S) -> None:
        """Try once more what waits, for so long at most. What is left then is lost."""
        self.hurry()
        thread = self._thread
        if thread is not None:
            thread.join(max(0.0, patience_s))
        with self._changed:
            left = len(self._waiting)
            self._waiting.clear()
        if left:
            self._say(f"{left:,} evaluations could not be sent before the end")

    def _work(self) -> None:
        with self._open_client() as client:
            while (post := self._next()) is not None:
                self._bring(client, post)
                with self._changed:
                    # Only now, so that the end waits for it; who closed may have cleared all.
                    if self._waiting and self._waiting[0] is post:
                        self._waiting.popleft()

    def _next(self) -> Post | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closing)
            if self._waiting:
                return self._waiting[0]
            # A later post starts another thread.
            self._thread = None
            return None

    def _bring(self, client: httpx.Client, post: Post) -> None:
        for pause in (*self._pauses, None):
            # A try that began before the end has another one after it.
            is_last = pause is None or self._is_closing
            fault, wait_s = _sent(client, post)
            if fault is None:
                return
            if pause is None or wait_s is None or is_last:
                self._say(fault)
                return
            with self._changed:
                self._changed.wait_for(lambda: self._is_closing, max(pause, wait_s))

    def _say(self, what: str) -> None:
        # Once: a server that is down has the same to say of every evaluation.
        if what not in self._said:
            self._said.add(what)
            _LOG.warning("Sink %s: %s.", self.name, what)


def _sent(client: httpx.Client, post: Post) -> tuple[str | None, float | None]:
    """Return what went wrong, if anything, and how long to wait at least: None for no more try."""
    try:
        answer = client.post(post.path, params=dict(post.query), json=post.body)
    except httpx.HTTPError as exc:
        # Its words may quote the URL, and so a password in it.
        return f"the server cannot be reached ({type(exc).__name__}), evaluations are lost", 0.0
    if answer.is_success:
        return None, None
    fault = (
        f"the server answers {answer.status_code} to {post.path.partition('/tr-')[0]}, evaluations "
        "are lost. Look at its URL and keys under [evaluations.sinks]"
    )
    if answer.status_code not in _PASSING | post.passing:
        return fault, None
    asked = answer.headers.get("retry-after", "")
    return fault, min(float(asked), _LONGEST_PAUSE_S) if asked.isdigit() else 0.0


_COURIERS: WeakSet[Courier] = WeakSet()


def close_all(couriers: Sequence[Courier], patience_s: float = LAST_S) -> None:
    """Close couriers, within so many seconds all in all."""
    until = time.monotonic() + patience_s
    for courier in couriers:
        courier.hurry()
    for courier in couriers:
        courier.close(until - time.monotonic())


def _end() -> None:
    # A parent's, in its child, have a lock that a thread may hold that is not here.
    close_all([each for each in _COURIERS if each.pid == os.getpid()])


atexit.register(_end)
