"""Poll: a number that a thread asks for now and then, so that reading it costs nothing."""

import os
import threading
import time
from collections.abc import Callable

from ...errors import StoreError


class Poll:
    """Asks at the first reading, then every `every_s` seconds, in a thread of its own.

    The thread ends when nobody has read for `idle_s` seconds, and begins again with the next
    reading; so it does in the child after a fork.
    """

    def __init__(self, ask: Callable[[], int], *, every_s: float, idle_s: float = 60.0) -> None:
        self._ask = ask
        self._every_s = every_s
        self._idle_s = idle_s
        self._number: int | None = None
        self._read_at = 0.0
        self._runs_in: int | None = None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    def read(self) -> int | None:
        """Return the number of the last time, None when it could not be had."""
        self._read_at = time.monotonic()
        process = os.getpid()
        if self._runs_in != process:
            # Two threads here at once would start two of them: no harm, the older one ends.
            self._runs_in, self._number, self._ended = process, None, threading.Event()
            self._ask_now()
            self._thread = threading.Thread(
                target=self._run, args=(self._ended,), name="tierflow-poll", daemon=True
            )
            self._thread.start()
        return self._number

    def close(self) -> None:
        """End the thread; the next reading starts it again."""
        thread, self._thread = self._thread, None
        if self._runs_in == os.getpid() and thread is not None:
            self._ended.set()
            thread.join()
        self._runs_in = None

    def _run(self, ended: threading.Event) -> None:
        try:
            while not ended.wait(self._every_s) and ended is self._ended:
                if time.monotonic() - self._read_at > self._idle_s:
                    break
                self._ask_now()
        finally:
            if ended is self._ended:
                self._runs_in = None

    def _ask_now(self) -> None:
        try:
            self._number = self._ask()
        except StoreError:
            # Whoever reads "unknown" goes to the store, and meets the error there.
            self._number = None
