"""Codes: unit vectors as bytes, and the similarities that bytes still tell. Knows no index.

Vectors are first turned by a fixed rotation that spreads any encoder's loud dimensions over all
of them. Then one step size fits every component, nothing is trained, and a code never changes:
an index is built anew from its own codes without loss. Source of the idea: RaBitQ, arXiv
2405.12497.
"""

from functools import lru_cache
from typing import Any, TypeAlias

import faiss
import numpy as np
from numpy.typing import NDArray

_faiss: Any = faiss  # has no types

Vectors: TypeAlias = NDArray[np.float32]
Codes: TypeAlias = NDArray[np.uint8]
Ids: TypeAlias = NDArray[np.int64]

# Components of a rotated unit vector are about normal with deviation 1/sqrt(d). Wider steps lose
# precision for all, narrower ones clip more: measured, 4.5 deviations lose least.
_CLIP = 4.5
_TOP = 127
_ROUNDS = 2
_SEED = 20240521
_UNIT_TOLERANCE = 1e-2


class Coder:
    """Turns vectors of d components into codes of d bytes, each a whole number plus 128."""

    def __init__(self, dimensions: int) -> None:
        if dimensions < 1:
            raise ValueError(f"Vectors of {dimensions} components cannot be kept; give at least 1.")
        self.dimensions = dimensions
        self._rotation = _rotation(dimensions)
        self._scale = np.float32(_TOP * np.sqrt(dimensions) / _CLIP)

    def checked(self, vectors: Vectors) -> Vectors:
        """Return unit vectors, (n, d) float32. Raises ValueError for what is none."""
        found = np.ascontiguousarray(vectors, dtype=np.float32)
        if found.ndim != 2 or found.shape[1] != self.dimensions:
            raise ValueError(
                f"Vectors of shape {found.shape} do not fit an index of {self.dimensions} "
                "dimensions; use the encoder that the index was made for."
            )
        squares = np.einsum("ij,ij->i", found, found)
        # A NaN compares as false: it must not pass.
        if not bool(np.all(np.abs(squares - 1) <= 2 * _UNIT_TOLERANCE)):
            raise ValueError("A vector is not of length 1; divide it by its norm.")
        return found

    def rotated(self, vectors: Vectors) -> Vectors:
        """Return vectors, (n, d), in the codes' space. Similarities are the same there."""
        if len(vectors) == 1:
            # Not by BLAS: its threads spin, and on a busy machine cost milliseconds.
            turned = np.empty_like(vectors)
            size = self.dimensions
            out, one, rows = map(_faiss.swig_ptr, (turned, vectors, self._rotation))
            _faiss.fvec_inner_products_ny(out, one, rows, size, size)
            return turned
        rotated: Vectors = vectors @ self._rotation.T
        return rotated

    def encode(self, rotated: Vectors) -> tuple[Codes, Vectors]:
        """Return the codes, (n, d), and the factors, (n,), that make products similarities."""
        whole = np.clip(np.rint(rotated * self._scale), -_TOP, _TOP)
        # The factor takes back what rounding did along the vector. What is left is across it, and
        # little of that is seen by a vector near by.
        factors = 1 / np.einsum("ij,ij->i", rotated, whole)
        return (whole + (_TOP + 1)).astype(np.uint8), factors.astype(np.float32)

    def decode(self, codes: Codes) -> Vectors:
        """Return about the rotated vectors, (n, d)."""
        vectors: Vectors = (codes.astype(np.float32) - (_TOP + 1)) / self._scale
        return vectors

    def asked(self, rotated: Vectors) -> Vectors:
        """Return a query, (n, d), in whole numbers as large as fit: codes are searched so."""
        largest = np.abs(rotated).max(axis=1, keepdims=True)
        whole: Vectors = np.rint(rotated * (_TOP / largest))
        return whole

    def similarities(self, rotated: Vectors, codes: Codes, factors: Vectors) -> Vectors:
        """Return the similarities of one query, (1, d), and n codes: to 0.001 from 0.8 on."""
        whole = codes.astype(np.float32)
        whole -= _TOP + 1
        found: Vectors = np.einsum("ij,j->i", whole, rotated[0]) * factors
        return found


@lru_cache(maxsize=8)
def _rotation(dimensions: int) -> Vectors:
    """Random signs and Hadamard transforms: exactly the same matrix on every machine."""
    random = np.random.Generator(np.random.PCG64(_SEED))
    block = 1 << (dimensions.bit_length() - 1)
    turned = np.eye(dimensions)
    for _ in range(_ROUNDS):
        turned *= random.integers(0, 2, dimensions) * 2 - 1
        # Two blocks that overlap reach all dimensions where d is no power of two.
        turned[:, :block] = _hadamard(turned[:, :block])
        turned[:, -block:] = _hadamard(turned[:, -block:])
    return np.ascontiguousarray(turned.T, dtype=np.float32)


def _hadamard(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    count, size = rows.shape
    half = 1
    while half < size:
        pairs = rows.reshape(count, size // (2 * half), 2, half)
        left, right = pairs[:, :, 0], pairs[:, :, 1]
        rows = np.stack((left + right, left - right), axis=2).reshape(count, size)
        half *= 2
    rows /= np.sqrt(size)
    return rows
