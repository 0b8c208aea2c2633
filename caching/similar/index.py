"""Index: the questions of one partition that are nearest to one. Knows no store and no answer.

It imports faiss: import this file only where an index is used.
"""

import ctypes
import logging
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .codes import Coder, Ids, Vectors
from .flat import Flat, Halves
from .packed import Packed
from .packing import Stopped, pack
from .threads import SharedLock, one_thread

_log = logging.getLogger(__name__)

# Fresh vectors are searched one by one: 8,000 of them take 0.1 ms.
_FRESH = 4096
_FRESH_SHARE = 256
_DEAD_SHARE = 4
# So many times `flat_limit` may wait to be packed while much is added at once.
_BACKLOG = 4
_CHUNK = 4096


@dataclass(frozen=True, slots=True)
class Content:
    """What an index held at one moment: fresh ids and vectors, (n, d), and the packed part.

    `counts`: of each row of `packed` whether it counted then.
    """

    ids: Ids
    halves: Halves
    packed: Packed | None
    counts: NDArray[np.bool_]


class PartitionIndex:
    """The vectors of one partition, in memory. Thread-safe; not to be used after a fork.

    Up to `flat_limit` vectors every one is compared, and similarities are exact to 1e-3. Beyond,
    all but the freshest are packed: a search reads the likeliest lists, which finds at least 99 in
    100 nearest neighbours of similarity 0.8 or more, and tells those similarities to 1e-3. A
    thread of its own packs anew when many are fresh or removed; all goes on meanwhile.
    """

    FLAT_LIMIT = 50_000

    def __init__(self, dimensions: int, *, flat_limit: int = FLAT_LIMIT) -> None:
        self._coder = Coder(dimensions)
        self._flat_limit = flat_limit
        self._lock = SharedLock()
        self._flat = Flat(self._coder)
        self._packed: Packed | None = None
        # Ids removed since the packing began, None when there is none.
        self._removed: list[int] | None = None
        self._packer: threading.Thread | None = None
        self._closed = threading.Event()
        # Doubles when a packing fails, so that it is not tried again at once.
        self._patience = 1

    @classmethod
    def of(cls, content: Content, dimensions: int, *, flat_limit: int) -> "PartitionIndex":
        """Return an index with a content of which all counts. It takes the packed part over."""
        made = cls(dimensions, flat_limit=flat_limit)
        for start in range(0, len(content.ids), _CHUNK):
            halves = content.halves[start : start + _CHUNK]
            codes, _ = made._coder.encode(made._coder.rotated(halves.astype(np.float32)))
            made._flat.add(content.ids[start : start + _CHUNK], halves, codes)
        made._packed = content.packed
        return made

    def content(self) -> Content:
        """Return what is here now; it does not change when the index does."""
        with self._lock.reading():
            packed = self._packed
            counts = np.empty(0, np.bool_) if packed is None else packed.alive.mask()
            return Content(*self._flat.content(), packed, counts)

    @property
    def dimensions(self) -> int:
        """Components of a vector."""
        return self._coder.dimensions

    def add(self, id: int, vector: Vectors) -> None:  # noqa: A002  # the store's word
        """Add a unit vector, (d,) float32, in place of an older one under the id.

        Raises ValueError for a vector of another size or length.
        """
        self.add_many([id], np.asarray(vector)[None])

    def add_many(self, ids: Sequence[int], vectors: Vectors) -> None:
        """Add unit vectors, (n, d) float32; of an id that comes twice the last one counts.

        May wait for a packing, so that what is not packed yet stays bounded.
        """
        checked = self._coder.checked(vectors)
        if len(ids) != len(checked):
            raise ValueError(f"{len(ids)} ids came with {len(checked)} vectors; give one for each.")
        last = {each: row for row, each in enumerate(ids)}
        if len(last) < len(ids):
            checked = checked[list(last.values())]
        codes, _ = self._coder.encode(self._coder.rotated(checked))
        halves = checked.astype(np.float16)
        with self._lock.writing():
            for each in last:
                self._remove(each)
            self._flat.add(np.fromiter(last, np.int64), halves, codes)
            packer = self._packing_if_due()
            backlog = len(self._flat) > _BACKLOG * max(self._flat_limit, self._fresh_limit())
        if packer is not None and len(ids) > 1 and backlog:
            packer.join()

    def remove(self, id: int) -> bool:  # noqa: A002  # the store's word
        """Remove a vector: no search that begins later finds it. Tell whether it was here."""
        with self._lock.writing():
            found = self._remove(id)
            self._packing_if_due()
        return found

    def search(self, vector: Vectors, k: int) -> list[tuple[int, float]]:
        """Return ids and cosine similarities of the k nearest to a unit vector, nearest first."""
        if k < 1:
            raise ValueError(f"{k} neighbours cannot be found; ask for at least 1.")
        asked = self._coder.checked(np.asarray(vector)[None])
        rotated = self._coder.rotated(asked)
        with one_thread():
            with self._lock.reading():
                packed = self._packed
                ids, similarities = self._flat.search(asked, rotated, k)
            if packed is not None:
                more, their = packed.search(rotated, k)
                ids = np.concatenate((ids, more))
                similarities = np.concatenate((similarities, their))
        best = np.argsort(-similarities, kind="stable")[:k]
        return list(zip(ids[best].tolist(), similarities[best].tolist(), strict=True))

    def __len__(self) -> int:
        with self._lock.reading():
            return len(self._flat) + (0 if self._packed is None else len(self._packed))

    @property
    def resident_bytes(self) -> int:
        """Bytes in memory, about: worked out from what is held, not measured."""
        with self._lock.reading():
            return self._flat.bytes + (0 if self._packed is None else self._packed.bytes)

    @property
    def is_packing(self) -> bool:
        """Whether the thread that packs is at work."""
        packer = self._packer
        return packer is not None and packer.is_alive()

    def settle(self) -> None:
        """Wait until no packing is under way."""
        while self.is_packing and self._packer is not None:
            self._packer.join()

    def close(self) -> None:
        """End the packing that may be under way, within seconds. Searches still answer."""
        self._closed.set()
        self.settle()

    def _remove(self, id_: int) -> bool:
        found = self._flat.remove(id_) or (self._packed is not None and self._packed.remove(id_))
        if found and self._removed is not None:
            self._removed.append(id_)
        return found

    def _fresh_limit(self) -> int:
        if self._packed is None:
            return self._patience * self._flat_limit
        share = len(self._packed) // _FRESH_SHARE
        return self._patience * max(min(_FRESH, self._flat_limit), share)

    def _is_due(self) -> bool:
        if len(self._flat) > self._fresh_limit():
            return True
        packed = self._packed
        if packed is None:
            return False
        return _DEAD_SHARE * packed.alive.dead > self._patience * len(packed.ids)

    def _packing_if_due(self) -> threading.Thread | None:
        """Return the thread that packs, started now if there is a reason. Only while writing."""
        if self._removed is None and self._is_due() and not self._closed.is_set():
            self._removed = []
            self._packer = threading.Thread(target=self._pack, name="tierflow-pack", daemon=True)
            self._packer.start()
        return None if self._removed is None else self._packer

    def _pack(self) -> None:
        try:
            while self._pack_once():
                pass
        except Stopped:
            self._end_packing(self._patience)
        except (MemoryError, RuntimeError) as exc:
            _log.warning("The index was not packed, and stays right but slower: %s", exc)
            self._end_packing(2 * self._patience)
        give_memory_back()

    def _end_packing(self, patience: int) -> None:
        with self._lock.writing():
            self._removed = None
            self._patience = patience

    def _pack_once(self) -> bool:
        """Pack what is here now. Tell whether there is a reason to do it again."""
        with self._lock.writing():
            self._removed = []
            older = self._packed
            ids, halves = self._flat.content()
        made = pack(self._coder, older, ids, halves, self._closed.is_set)
        with self._lock.writing():
            if made is not None:
                for each in self._removed:
                    made.remove(each)
            self._packed = made
            self._flat.keep(self._not_packed(made))
            self._patience = 1
            again = self._is_due() and not self._closed.is_set()
            if not again:
                self._removed = None
        return again

    def _not_packed(self, made: Packed | None) -> list[int]:
        ids: Ids = np.fromiter(self._flat.ids(), np.int64)
        if made is not None:
            ids = ids[made.rows_of(ids) < 0]
        left: list[int] = ids.tolist()
        return left


def give_memory_back() -> None:
    """Return freed memory to the system: Linux's allocator would keep as much again."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
