"""Leases: which process asks, where several want the same answer. Renewed while it is asked for."""

import os
import threading
import time
import uuid

from ..errors import StoreError
from .keys import Key
from .store import AnswerStore

LEASE_S = 15.0
"""A dead process holds up the others for so long at most."""

_RENEW_S = 5.0
_LONGEST_S = 900.0
"""A lease that nobody gave back, because its step was abandoned, is renewed no longer than that."""


class Leases:
    """The leases that this process holds. Thread-safe."""

    def __init__(self, store: AnswerStore) -> None:
        self._store = store
        self._owner = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        # How often each is taken in this process, and until when it is renewed.
        self._held: dict[Key, tuple[int, float]] = {}
        self._lock = threading.Lock()
        self._renewing: threading.Thread | None = None
        self._closed = threading.Event()

    def take(self, key: Key) -> bool:
        """Take a lease; False while another process holds it. Raises StoreError."""
        if not self._store.lease(key, self._owner, LEASE_S):
            return False
        with self._lock:
            times, _ = self._held.get(key, (0, 0.0))
            self._held[key] = times + 1, time.monotonic() + _LONGEST_S
            if self._renewing is None:
                self._closed.clear()
                self._renewing = threading.Thread(
                    target=self._renew, name="tierflow-leases", daemon=True
                )
                self._renewing.start()
        return True

    def give_back(self, key: Key) -> None:
        """Give a lease back. Raises StoreError."""
        with self._lock:
            times, until = self._held.pop(key, (1, 0.0))
            if times > 1:
                self._held[key] = times - 1, until
                return
        self._store.release(key, self._owner)

    def close(self) -> None:
        """Stop renewing; what is held ends by itself."""
        self._closed.set()
        if (thread := self._renewing) is not None:
            thread.join()
            self._renewing = None

    def _renew(self) -> None:
        while not self._closed.wait(_RENEW_S):
            with self._lock:
                now = time.monotonic()
                self._held = {key: each for key, each in self._held.items() if each[1] > now}
                held = tuple(self._held)
            for key in held:
                try:
                    self._store.lease(key, self._owner, LEASE_S)
                    with self._lock:
                        still_held = key in self._held
                    if not still_held:
                        # It was given back meanwhile, and must not be taken for whoever left.
                        self._store.release(key, self._owner)
                except StoreError:
                    # Whoever uses the store next says so; then it is asked for twice.
                    break
