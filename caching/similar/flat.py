"""Flat: vectors that are searched one by one. Knows neither threads nor files."""

from collections.abc import Iterable
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from .alive import Alive
from .codes import Coder, Codes, Ids, Vectors

_faiss: Any = faiss  # has no types

Halves = NDArray[np.float16]

_QUANTIZER = _faiss.ScalarQuantizer.QT_8bit_direct_signed
_ROOM = 64
# Codes are searched first, 2.2 times as fast as halves and a hundredth less exact, so that some
# more are taken than were asked for and put in order by their halves.
_MORE = 8
_DEAD_SHARE = 4


class Flat:
    """Codes to search, and the vectors as 16-bit floats to be exact. Removals are marked."""

    def __init__(self, coder: Coder) -> None:
        self._coder = coder
        self._clear()

    def _clear(self) -> None:
        self._codes: Any = _faiss.IndexScalarQuantizer(
            self._coder.dimensions, _QUANTIZER, _faiss.METRIC_INNER_PRODUCT
        )
        self._halves: Halves = np.empty((_ROOM, self._coder.dimensions), np.float16)
        self._ids: Ids = np.empty(_ROOM, np.int64)
        self._alive = Alive(0)
        self._used = 0
        self._rows: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def ids(self) -> Iterable[int]:
        """Return all ids, in the order they came."""
        return self._rows.keys()

    def add(self, ids: Ids, halves: Halves, codes: Codes) -> None:
        """Add vectors, (n, d), and their codes, (n, d), under ids that are not here."""
        start, self._used = self._used, self._used + len(ids)
        if self._used > len(self._ids):
            room = max(self._used, len(self._ids) + len(self._ids) // 2)
            self._halves = _grown(self._halves, start, room)
            self._ids = _grown(self._ids, start, room)
        self._halves[start : self._used] = halves
        self._ids[start : self._used] = ids
        self._codes.add_sa_codes(codes)
        self._alive.extend(len(ids))
        self._rows.update(zip(ids.tolist(), range(start, self._used), strict=True))

    def remove(self, id_: int) -> bool:
        """Remove a vector. Tell whether it was here."""
        row = self._rows.pop(id_, None)
        if row is None:
            return False
        self._alive.drop(row)
        if self._alive.dead > _ROOM and _DEAD_SHARE * self._alive.dead > self._used:
            self.keep(self._rows)
        return True

    def keep(self, ids: Iterable[int]) -> None:
        """Keep these and forget all else, which takes time in proportion to what is kept."""
        rows = np.fromiter((self._rows[each] for each in ids), np.int64)
        kept, halves = self._ids[rows], self._halves[rows]
        codes = self._stored_codes()[rows]
        self._clear()
        self.add(kept, halves, codes)

    def content(self) -> tuple[Ids, Halves]:
        """Return copies of ids and vectors, oldest first."""
        rows = np.flatnonzero(self._alive.mask())
        return self._ids[rows], self._halves[rows]

    def search(self, vector: Vectors, rotated: Vectors, k: int) -> tuple[Ids, Vectors]:
        """Return ids and similarities of the nearest to one query, (1, d). In no order."""
        wanted = min(k + _MORE, len(self._rows))
        if not wanted:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        selector = self._alive.selector()
        params = None if selector is None else _faiss.SearchParameters(sel=selector)
        _, found = self._codes.search(self._coder.asked(rotated), wanted, params=params)
        rows = found[0][found[0] >= 0]
        exact = self._halves[rows].astype(np.float32)
        return self._ids[rows], np.einsum("ij,j->i", exact, vector[0])

    @property
    def bytes(self) -> int:
        """Bytes in memory, about: of the arrays, and of the table of ids."""
        per_id = 100
        codes = self._used * self._coder.dimensions
        arrays = self._halves.nbytes + self._ids.nbytes + self._alive.bytes
        return codes + arrays + per_id * len(self._rows)

    def _stored_codes(self) -> Codes:
        size = self._used * self._coder.dimensions
        if not size:
            return np.empty((0, self._coder.dimensions), np.uint8)
        stored: Codes = _faiss.rev_swig_ptr(self._codes.codes.data(), size)
        return stored.reshape(self._used, self._coder.dimensions)


def _grown(array: Any, used: int, room: int) -> Any:
    grown = np.empty((room, *array.shape[1:]), array.dtype)
    grown[:used] = array[:used]
    return grown
