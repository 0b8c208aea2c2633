"""Memory store: answers for as long as the process lives. Writes nothing anywhere."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator

from .keys import Key
from .store import Entry, Failure, Selection, StoreStats

_AROUND = 500  # bytes of an entry besides its text, about


class MemoryStore:
    """An AnswerStore in memory, for tests and for processes without a folder. Thread-safe.

    `size_limit_mb`, `most_entries`: what was not used for longest goes when one is passed.
    `clock`: seconds since 1970.
    """

    def __init__(
        self,
        *,
        size_limit_mb: float = 64,
        most_entries: int = 100_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._size_limit = size_limit_mb * 1024 * 1024
        self._most_entries = most_entries
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[Key, Entry] = OrderedDict()  # the least used first
        self._bytes = 0
        self._leases: dict[Key, tuple[str, float]] = {}

    def get(self, key: Key) -> Entry | None:
        """Return what is under a key, None if there is nothing or it has expired."""
        with self._lock:
            entry = self._kept.get(key)
            if entry is None:
                return None
            if entry.expires_at <= self._clock():
                self._drop(key)
                return None
            self._kept.move_to_end(key)
            return entry

    def put(self, key: Key, entry: Entry) -> None:
        """Keep an entry, in place of an older one."""
        with self._lock:
            self._drop(key)
            self._kept[key] = entry
            self._bytes += _size(entry)
            while len(self._kept) > self._most_entries or self._bytes > self._size_limit:
                self._drop(next(iter(self._kept)))

    def remove(self, key: Key) -> bool:
        """Remove what is under a key. Tell whether there was anything."""
        with self._lock:
            return self._drop(key)

    def invalidate(self, which: Selection) -> int:
        """Remove what fits a selection. Return how many went."""
        with self._lock:
            meant = [key for key, entry in self._kept.items() if which.holds(entry.labels)]
            for key in meant:
                self._drop(key)
            return len(meant)

    def entries(self) -> Iterator[tuple[Key, Entry]]:
        """Yield all that has not expired, oldest first."""
        now = self._clock()
        with self._lock:
            fresh = [(key, entry) for key, entry in self._kept.items() if entry.expires_at > now]
        yield from sorted(fresh, key=lambda each: each[1].stored_at)

    def faults(self) -> Iterator[str]:
        """Yield nothing: there is no file that could be damaged."""
        yield from ()

    def stats(self) -> StoreStats:
        """Count what is there. The path is `memory`; the bytes are about right."""
        steps: dict[str, int] = {}
        failures = 0
        for _, entry in self.entries():
            steps[entry.labels.step] = steps.get(entry.labels.step, 0) + 1
            failures += isinstance(entry.content, Failure)
        total = sum(steps.values())
        return StoreStats("memory", total, self._bytes, dict(sorted(steps.items())), failures)

    def lease(self, key: Key, owner: str, ttl_s: float) -> bool:
        """Take or prolong the right to ask for a key; False while another owner holds it."""
        now = self._clock()
        with self._lock:
            self._leases = {each: held for each, held in self._leases.items() if held[1] > now}
            holder, _ = self._leases.setdefault(key, (owner, now + ttl_s))
            if holder == owner:
                self._leases[key] = owner, now + ttl_s
            return holder == owner

    def release(self, key: Key, owner: str) -> None:
        """Give a lease back; nothing happens if it is another's by now."""
        with self._lock:
            if self._leases.get(key, ("",))[0] == owner:
                del self._leases[key]

    def close(self) -> None:
        """Do nothing: the answers stay for the next call."""

    def _drop(self, key: Key) -> bool:
        entry = self._kept.pop(key, None)
        if entry is not None:
            self._bytes -= _size(entry)
        return entry is not None


def _size(entry: Entry) -> int:
    content = entry.content
    text = content.message if isinstance(content, Failure) else content.text
    return len(text.encode(errors="surrogatepass")) + _AROUND
