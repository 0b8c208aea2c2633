"""Packed: many vectors in lists, of which a search reads the few that are likeliest.

An inverted file (Jegou et al. 2011, "Product quantization for nearest neighbor search") over
codes. Once filled nothing changes but which rows count, so that searches need no lock.
"""

from collections.abc import Sequence
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from .alive import Alive
from .codes import Coder, Codes, Ids, Vectors

_faiss: Any = faiss  # has no types

Numbers = NDArray[np.uint32]

_QUANTIZER = _faiss.ScalarQuantizer.QT_8bit_direct_signed
# More than asked for are taken, and put in order by what their codes tell at full precision.
_MORE = 8
# Measured on 41,748 real questions in 817 to 3,269 lists: the nearest neighbour, at 0.8 or more, is
# found in at least 0.989 of cases with 8, 0.992 with 12 and 0.993 with 64: the rest are near ties.
# Of a million each list read costs a lookup about 0.02 ms. Where lists are short more are read.
_PROBES = 12
_LEAST_READ = 3000


class Packed:
    """Codes in lists around centroids. A row is the place of an id among all ids, which rise.

    `centroids`: their codes, (lists, d). `sizes`: rows per list. `ids`, `factors`: per row.
    The lists have their final size at once, and are filled by `put`, each from its start.
    """

    def __init__(
        self, coder: Coder, centroids: Codes, sizes: Sequence[int], ids: Ids, factors: Vectors
    ) -> None:
        self._coder = coder
        self.centroids = centroids
        self.sizes = np.asarray(sizes, np.int64)
        self.ids = ids
        self.factors = factors
        self.alive = Alive(len(ids))
        self._starts = np.concatenate(([0], np.cumsum(self.sizes)))
        self._places: Numbers = np.empty(len(ids), np.uint32)
        self._filled = np.zeros(len(self.sizes), np.int64)
        self._coarse: Any = _faiss.IndexScalarQuantizer(
            coder.dimensions, _QUANTIZER, _faiss.METRIC_INNER_PRODUCT
        )
        self._coarse.add_sa_codes(centroids)
        self._index: Any = _faiss.IndexIVFScalarQuantizer(
            self._coarse,
            coder.dimensions,
            len(self.sizes),
            _QUANTIZER,
            _faiss.METRIC_INNER_PRODUCT,
            False,
        )
        self._index.is_trained = True
        self._index.ntotal = len(ids)
        self._codes, self._rows = self._allocated()
        self._probes = max(_PROBES, _LEAST_READ * len(self.sizes) // max(1, len(ids)))

    def _allocated(self) -> tuple[list[Codes], list[Ids]]:
        """Give each list the memory it needs, and no more, and return it as arrays."""
        lists, width = self._index.invlists, self._coder.dimensions
        codes: list[Codes] = []
        rows: list[Ids] = []
        for number, size in enumerate(self.sizes.tolist()):
            lists.resize(number, size)
            if size:
                stored = _faiss.rev_swig_ptr(lists.get_codes(number), size * width)
                codes.append(stored.reshape(size, width))
                rows.append(_faiss.rev_swig_ptr(lists.get_ids(number), size))
            else:
                codes.append(np.empty((0, width), np.uint8))
                rows.append(np.empty(0, np.int64))
        return codes, rows

    def put(self, number: int, rows: Ids, codes: Codes) -> None:
        """Put rows and their codes, (n, d), into a list, behind what is there."""
        start = self._filled[number]
        end = start + len(rows)
        self._rows[number][start:end] = rows
        self._codes[number][start:end] = codes
        self._places[rows] = self._starts[number] + np.arange(start, end)
        self._filled[number] = end

    def content(self, number: int) -> tuple[Ids, Codes]:
        """Return the rows and the codes of a list, dead ones too."""
        return self._rows[number], self._codes[number]

    def __len__(self) -> int:
        return len(self.ids) - self.alive.dead

    def rows_of(self, ids: Ids) -> Ids:
        """Return the rows of ids that count, and -1 for the others."""
        if not len(self.ids):
            return np.full(len(ids), -1)
        rows = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        here = (self.ids[rows] == ids) & self.alive.holds(rows)
        return np.where(here, rows, -1)

    def remove(self, id_: int) -> bool:
        """Remove an id. Tell whether it was here."""
        row = int(np.searchsorted(self.ids, id_))
        if row == len(self.ids) or self.ids[row] != id_ or not self.alive.holds(row):
            return False
        self.alive.drop(row)
        return True

    def search(self, rotated: Vectors, k: int) -> tuple[Ids, Vectors]:
        """Return ids and similarities of the nearest to one query, (1, d). In no order."""
        wanted = min(k + _MORE, len(self))
        if wanted < 1:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        params = _faiss.SearchParametersIVF(nprobe=self._probes, sel=self.alive.selector())
        _, found = self._index.search(self._coder.asked(rotated), wanted, params=params)
        rows = found[0][found[0] >= 0]
        if not len(rows):
            return np.empty(0, np.int64), np.empty(0, np.float32)
        places = self._places[rows].astype(np.int64)
        numbers = np.searchsorted(self._starts, places, side="right") - 1
        offsets = places - self._starts[numbers]
        pairs = zip(numbers.tolist(), offsets.tolist(), strict=True)
        picked: list[Codes] = [self._codes[number][offset] for number, offset in pairs]
        codes = np.stack(picked)
        return self.ids[rows], self._coder.similarities(rotated, codes, self.factors[rows])

    @property
    def bytes(self) -> int:
        """Bytes in memory, about: of the codes, the arrays beside them, and the lists."""
        per_row = self._coder.dimensions + 8 + 8 + 4 + 4
        per_list = 600
        return per_row * len(self.ids) + self.alive.bytes + per_list * len(self.sizes)
