"""Alive: which rows of a part of the index still count. One bit each, read by faiss itself."""

from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

_faiss: Any = faiss  # has no types


class Alive:
    """Bits of rows, set while a row counts. faiss skips the others while it searches.

    So a removal is one bit, and a removed row never takes the place of one that counts.
    """

    def __init__(self, rows: int) -> None:
        self._bits = np.full(rows // 8 + 1, 255, np.uint8)
        self._rows = rows
        self._selector: Any = None
        self.dead = 0

    def extend(self, rows: int) -> None:
        """Let that many more rows count. Not while anyone searches."""
        self._rows += rows
        if self._rows > 8 * len(self._bits):
            # As many again, so that growth is rare.
            more = np.full(self._rows // 8 + 1, 255, np.uint8)
            self._bits = np.concatenate((self._bits, more))
            self._selector = None

    def drop(self, row: int) -> None:
        """Count a row no longer; it must have counted. A search may be under way."""
        self._bits[row >> 3] &= ~np.uint8(1 << (row & 7))
        self.dead += 1

    def holds(self, rows: "int | NDArray[np.int64]") -> Any:
        """Tell whether a row counts, or which of several do."""
        return (self._bits[rows >> 3] >> (rows & 7) & 1).astype(np.bool_)

    def mask(self) -> NDArray[np.bool_]:
        """Return a copy: for each row whether it counts."""
        return np.unpackbits(self._bits, count=self._rows, bitorder="little").astype(np.bool_)

    def selector(self) -> Any:
        """Return what faiss asks for each row; None when all count."""
        if not self.dead:
            return None
        if self._selector is None:
            self._selector = _faiss.IDSelectorBitmap(self._bits)
        return self._selector

    @property
    def bytes(self) -> int:
        """Bytes in memory."""
        return self._bits.nbytes
