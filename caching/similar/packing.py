"""Packing: how a Packed is made, from an older one and from fresh vectors. Minutes at most.

Codes are moved, never made anew, so that nothing is lost however often it is done. Centroids are
trained again only when the number of rows has doubled, or halved, since.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from .codes import Coder, Codes, Ids, Vectors
from .flat import Halves
from .packed import Packed
from .threads import one_thread

_faiss: Any = faiss  # has no types

_CHUNK = 32_768
_LISTS_PER_ROOT = 5
# Of 1M rows 120,000 are learned from: 25 s of CPU, where all would take 200.
_SAMPLE_PER_LIST = 24
_ROUNDS = 8
_MOST_CHANGE = 1.5
# A thread that only moves bytes would keep searches waiting for the interpreter.
_BREATHE_EVERY, _BREATHE_S = 50, 1e-4
_SEED = 20240521


class Stopped(Exception):  # noqa: N818  # no error: the index is being closed
    """The packing was asked to stop."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """Rows on their way: ids, codes (n, d), factors, and the list they are in, if they are."""

    ids: Ids
    codes: Codes
    factors: Vectors
    list: int | None


def pack(
    coder: Coder,
    older: Packed | None,
    ids: Ids,
    halves: Halves,
    stopped: Callable[[], bool] = lambda: False,
) -> Packed | None:
    """Return what counts in an older Packed, and fresh vectors, (n, d), under their ids.

    None if there is nothing. Raises Stopped soon after `stopped` tells so.
    """
    with one_thread():
        batches = [*_rows_of(older), *_fresh(coder, ids, halves)]
        total = sum(len(batch.ids) for batch in batches)
        if not total:
            return None
        if older is not None and _is_trained_for(older, total):
            centroids, keep_lists = older.centroids, True
        else:
            centroids, keep_lists = _trained(coder, batches, total, stopped), False
        lists = _assigned(coder, centroids, batches, keep_lists, stopped)
        return _filled(coder, centroids, batches, lists, stopped)


def list_count(rows: int) -> int:
    """Return into how many lists so many rows go."""
    return max(1, min(rows // 8, int(_LISTS_PER_ROOT * math.sqrt(rows))))


def _is_trained_for(older: Packed, total: int) -> bool:
    # Lists go with the root of the rows: 1.5 times the lists are 2.25 times the rows.
    return 1 / _MOST_CHANGE <= list_count(total) / len(older.sizes) <= _MOST_CHANGE


def _rows_of(older: Packed | None) -> Iterator[_Batch]:
    if older is None:
        return
    # A copy: what is removed from now on is removed from the new one when it is there.
    counts = older.alive.mask()
    for number in range(len(older.sizes)):
        rows, codes = older.content(number)
        kept = counts[rows]
        if not kept.all():
            rows, codes = rows[kept], codes[kept]
        yield _Batch(older.ids[rows], codes, older.factors[rows], number)


def _fresh(coder: Coder, ids: Ids, halves: Halves) -> Iterator[_Batch]:
    for start in range(0, len(ids), _CHUNK):
        vectors = halves[start : start + _CHUNK].astype(np.float32)
        codes, factors = coder.encode(coder.rotated(vectors))
        yield _Batch(ids[start : start + _CHUNK], codes, factors, None)


def _trained(
    coder: Coder, batches: Sequence[_Batch], total: int, stopped: Callable[[], bool]
) -> Codes:
    count = list_count(total)
    random = np.random.default_rng(_SEED)
    share = min(1.0, _SAMPLE_PER_LIST * count / total)
    picked = [batch.codes[random.random(len(batch.ids)) < share] for batch in batches]
    sample = coder.decode(np.concatenate(picked))
    if len(sample) < count:
        sample = coder.decode(np.concatenate([batch.codes for batch in batches]))
    _faiss.normalize_L2(sample)
    centroids: Any = None
    for round_ in range(_ROUNDS):
        if stopped():
            raise Stopped
        vendor: Any = _faiss.Kmeans(
            coder.dimensions,
            count,
            niter=1,
            spherical=True,
            seed=_SEED + round_,
            min_points_per_centroid=1,
            max_points_per_centroid=len(sample),
        )
        vendor.train(sample, init_centroids=centroids)
        centroids = vendor.centroids
    codes, _ = coder.encode(centroids)
    return codes


def _assigned(
    coder: Coder,
    centroids: Codes,
    batches: Sequence[_Batch],
    keep_lists: bool,
    stopped: Callable[[], bool],
) -> list[NDArray[np.int64]]:
    """Return the list of each row, per batch."""
    nearest: Any = _faiss.IndexFlatIP(coder.dimensions)
    nearest.add(coder.decode(centroids))
    lists: list[NDArray[np.int64]] = []
    for batch in batches:
        if stopped():
            raise Stopped
        if keep_lists and batch.list is not None:
            lists.append(np.full(len(batch.ids), batch.list))
        elif len(batch.ids):
            lists.append(nearest.assign(coder.decode(batch.codes), 1).reshape(-1))
        else:
            lists.append(np.empty(0, np.int64))
    return lists


def _filled(
    coder: Coder,
    centroids: Codes,
    batches: Sequence[_Batch],
    lists: Sequence[NDArray[np.int64]],
    stopped: Callable[[], bool],
) -> Packed:
    ids = np.concatenate([batch.ids for batch in batches])
    order = np.argsort(ids, kind="stable")
    rows = np.empty(len(ids), np.int64)
    rows[order] = np.arange(len(ids))
    factors = np.concatenate([batch.factors for batch in batches])[order]
    sizes = np.bincount(np.concatenate(lists), minlength=len(centroids))
    made = Packed(coder, centroids, sizes.tolist(), ids[order], factors)
    start = 0
    for batch, numbers in zip(batches, lists, strict=True):
        if stopped():
            raise Stopped
        here = rows[start : start + len(numbers)]
        start += len(numbers)
        by_list = np.argsort(numbers, kind="stable")
        ends = np.flatnonzero(np.diff(numbers[by_list])) + 1
        for moved, part in enumerate(np.split(by_list, ends)):
            if moved % _BREATHE_EVERY == 0:
                time.sleep(_BREATHE_S)
            if len(part):
                made.put(int(numbers[part[0]]), here[part], batch.codes[part])
    return made
