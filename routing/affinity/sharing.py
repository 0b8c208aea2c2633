"""Sharing: workers tell each other where they sent what. A Protocol, and what goes on behind it.

Only for pools without KV events. Whoever hears of a prefix a second too late sends it where the
others would: the rendezvous hash is the same everywhere. So losing the store costs hits alone.
"""

import logging
import threading
import time
import uuid
from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ...errors import StoreError

_LOG = logging.getLogger("tierflow")
_EVERY_S = 1.0
_LOST_S = 30.0
_TOLD_S = 60.0
KEPT_S = 600.0
"""What was sent so long ago is not told any more."""
_MOST_TOLD = 4096


@dataclass(frozen=True, slots=True)
class Sent:
    """What a worker sent to a replica: `blocks`, the hashes of a whole chain."""

    pool: str
    replica: str
    blocks: tuple[int, ...]

    def packed(self) -> bytes:
        """Return the blocks as bytes, for a store."""
        return array("Q", self.blocks).tobytes()

    @classmethod
    def of(cls, pool: str, replica: str, packed: bytes) -> "Sent":
        """Return what was packed. Raises ValueError for other bytes."""
        blocks = array("Q")
        blocks.frombytes(packed)
        return cls(pool, replica, tuple(blocks))


class Placements(Protocol):
    """Where all workers tell of what they sent. All methods raise StoreError."""

    def tell(self, worker: str, sent: Sequence[Sent]) -> None:
        """Add what a worker sent, and forget what is older than KEPT_S."""
        ...

    def heard(self, worker: str, after: int) -> tuple[int, Sequence[Sent]]:
        """Return what others sent since the row `after`, and the last row there is."""
        ...

    def close(self) -> None:
        """Close files and connections; the next use opens them again."""
        ...


class Sharing:
    """Tells and hears, about once a second, in a thread that begins with the first `sent`.

    `hear`: is given what others sent, in that thread.
    """

    def __init__(
        self,
        placements: Placements,
        hear: Callable[[Sent], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._placements, self._hear, self._clock = placements, hear, clock
        self._worker = uuid.uuid4().hex[:12]
        self._untold: list[Sent] = []
        self._told: OrderedDict[tuple[str, str, int], float] = OrderedDict()
        self._after = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Hear what others sent before, and go on."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="tierflow-placements", daemon=True
                )
                self._thread.start()

    def sent(self, sent: Sent) -> None:
        """Have others told, soon. What they were told a minute ago at most is not told again."""
        if not sent.blocks:
            return
        key, now = (sent.pool, sent.replica, sent.blocks[-1]), self._clock()
        with self._lock:
            if now < self._told.get(key, float("-inf")) + _TOLD_S:
                return
            self._told[key] = now
            self._told.move_to_end(key)
            if len(self._told) > _MOST_TOLD:
                self._told.popitem(last=False)
            # Without a store they would pile up.
            if len(self._untold) < _MOST_TOLD:
                self._untold.append(sent)

    def exchange(self) -> None:
        """Tell what is to be told, and hear the others. Raises StoreError."""
        with self._lock:
            untold, self._untold = self._untold, []
        if untold:
            self._placements.tell(self._worker, untold)
        self._after, heard = self._placements.heard(self._worker, self._after)
        for each in heard:
            self._hear(each)

    def close(self) -> None:
        """Tell what is left to tell, and end."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._placements.close()

    def _run(self) -> None:
        wait_s, is_lost = 0.0, False
        while not self._closing.wait(wait_s):
            is_lost = not self._exchanged(is_lost=is_lost)
            wait_s = _LOST_S if is_lost else _EVERY_S
        self._exchanged(is_lost=is_lost)

    def _exchanged(self, *, is_lost: bool) -> bool:
        try:
            self.exchange()
        except StoreError as error:
            if not is_lost:
                _LOG.warning("%s Until then workers do not know of each other's prefixes.", error)
            return False
        return True
