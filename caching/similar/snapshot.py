"""Snapshot: an index in a file, so that it need not be built again from the store's log.

The store is the truth: a file that is missing, damaged or foreign only costs the time to build
anew. Nothing in a file is taken before its checksum is right, nothing is unpickled, and faiss
never parses one: it gets arrays whose sizes were checked.

A file is: magic, length of the header, header (JSON), arrays (little-endian), SHA-256 of it all.
"""

import contextlib
import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .codes import Coder
from .index import Content, PartitionIndex, give_memory_back
from .packed import Packed

_log = logging.getLogger(__name__)

MAGIC = b"tfsimidx"
VERSION = 1
_DIGEST_BYTES = 32
_LENGTH_BYTES = 4
_LEFT_BEHIND_S = 3600.0


@dataclass(frozen=True, slots=True)
class _Header:
    """What the arrays are. `flat`, `packed`: rows of each part. `lists`: of the packed part."""

    version: int
    fingerprint: str
    partition: str
    upto_seq: int
    dimensions: int
    flat: int
    packed: int
    lists: int


def save(
    index: PartitionIndex, path: Path, *, partition: str, fingerprint: str, upto_seq: int
) -> bool:
    """Write an index to a file, whole or not at all, readable by its owner only.

    `upto_seq`: all changes of the log up to it are in the index; later ones may be, and do no harm
    when they are applied again. `fingerprint`: of the encoder. Tell whether it was written: a disk
    that is full costs a warning, never the work.
    """
    content = index.content()
    packed = content.packed
    header = _Header(
        version=VERSION,
        fingerprint=fingerprint,
        partition=partition,
        upto_seq=upto_seq,
        dimensions=index.dimensions,
        flat=len(content.ids),
        packed=0 if packed is None else int(content.counts.sum()),
        lists=0 if packed is None else len(packed.sizes),
    )
    try:
        _write(path, header, content)
    except OSError as exc:
        _log.warning("The index was not saved to %s: %s", path, exc)
        return False
    return True


def load(
    path: Path, *, partition: str, fingerprint: str, flat_limit: int = PartitionIndex.FLAT_LIMIT
) -> tuple[PartitionIndex, int] | None:
    """Return the index in a file, and the `upto_seq` it was saved with.

    None if there is no such file; None and a warning if it is damaged, or another partition's,
    encoder's or version's. Takes twice the file's size in memory for a moment.
    """
    try:
        data = memoryview(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as exc:
        _log.warning("The index %s cannot be read and is built anew: %s", path, exc)
        return None
    try:
        header, body = _opened(data, partition, fingerprint)
        index = _restored(header, body, flat_limit)
    except (ValueError, TypeError, AttributeError, IndexError) as exc:
        _log.warning("The index %s is not used and is built anew: %s", path, exc)
        return None
    del data, body
    give_memory_back()
    return index, header.upto_seq


def _opened(data: memoryview, partition: str, fingerprint: str) -> tuple[_Header, memoryview]:
    if data[: len(MAGIC)].tobytes() != MAGIC:
        raise ValueError("it is no index of tierflow")
    signed, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if hashlib.sha256(signed).digest() != digest.tobytes():
        raise ValueError("its checksum is wrong: it is damaged")
    start = len(MAGIC) + _LENGTH_BYTES
    end = start + int.from_bytes(data[len(MAGIC) : start], "little")
    fields: dict[str, Any] = json.loads(signed[start:end].tobytes())
    if fields.get("version") != VERSION:
        raise ValueError(f"it is not of version {VERSION}")
    header = _Header(**fields)
    if (header.partition, header.fingerprint) != (partition, fingerprint):
        raise ValueError("it belongs to another partition or encoder")
    return header, signed[end:]


def _restored(header: _Header, body: memoryview, flat_limit: int) -> PartitionIndex:
    coder, width, rows = Coder(header.dimensions), header.dimensions, header.packed
    arrays = _Arrays(body)
    ids = arrays.next("<i8", header.flat)
    halves = arrays.next("<f2", header.flat, width)
    packed_ids = arrays.next("<i8", rows)
    factors = arrays.next("<f4", rows)
    centroids = arrays.next("u1", header.lists, width)
    sizes = arrays.next("<i8", header.lists)
    places = arrays.next("<i8", rows)
    codes = arrays.next("u1", rows, width)
    if arrays.left or int(sizes.sum()) != rows or (len(sizes) and sizes.min() < 0):
        raise ValueError("its arrays do not fit its header")
    if not (np.array_equal(np.sort(places), np.arange(rows)) and np.all(np.diff(packed_ids) > 0)):
        raise ValueError("its rows are not numbered as they should be")
    packed = None
    if rows:
        packed = Packed(coder, centroids.copy(), sizes.tolist(), packed_ids.copy(), factors.copy())
        start = 0
        for number, size in enumerate(sizes.tolist()):
            packed.put(number, places[start : start + size], codes[start : start + size])
            start += size
    content = Content(ids, halves, packed, np.ones(rows, np.bool_))
    return PartitionIndex.of(content, width, flat_limit=flat_limit)


class _Arrays:
    """Takes one array after the other from what it is given. Raises ValueError at its end."""

    def __init__(self, data: memoryview) -> None:
        self.left = data

    def next(self, kind: str, *shape: int) -> Any:
        count = int(np.prod(shape))
        size = count * np.dtype(kind).itemsize
        if size > len(self.left):
            raise ValueError("its arrays do not fit its header")
        found = np.frombuffer(self.left[:size], kind).reshape(shape)
        self.left = self.left[size:]
        return found


def _write(path: Path, header: _Header, content: Content) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _sweep(path)
    # mkstemp gives a file that only its owner may read.
    number, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".new", dir=path.parent)
    try:
        with os.fdopen(number, "wb") as file:
            _write_all(file, header, content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _write_all(file: BinaryIO, header: _Header, content: Content) -> None:
    text = json.dumps(asdict(header)).encode()
    digest = hashlib.sha256()
    parts = (MAGIC, len(text).to_bytes(_LENGTH_BYTES, "little"), text, *_arrays(content))
    for part in parts:
        digest.update(part)
        file.write(part)
    file.write(digest.digest())


def _arrays(content: Content) -> Iterator[Any]:
    """Yield the arrays in the order of the file. Removed rows are left out."""
    yield _bytes(content.ids, "<i8")
    yield _bytes(content.halves, "<f2")
    packed, counts = content.packed, content.counts
    if packed is None:
        return
    yield _bytes(packed.ids[counts], "<i8")
    yield _bytes(packed.factors[counts], "<f4")
    yield _bytes(packed.centroids, "u1")
    lists = [packed.content(number) for number in range(len(packed.sizes))]
    yield _bytes(np.array([counts[rows].sum() for rows, _ in lists]), "<i8")
    renumbered = np.cumsum(counts) - 1
    for rows, _ in lists:
        yield _bytes(renumbered[rows[counts[rows]]], "<i8")
    for rows, codes in lists:
        yield _bytes(codes[counts[rows]], "u1")


def _bytes(array: Any, kind: str) -> memoryview:
    flat: Any = np.ascontiguousarray(array, dtype=kind).reshape(-1)
    return memoryview(flat.view(np.uint8))


def _sweep(path: Path) -> None:
    """Remove what a process left behind that was killed while it wrote."""
    before = time.time() - _LEFT_BEHIND_S
    for left in path.parent.glob(f"{path.name}.*.new"):
        with contextlib.suppress(FileNotFoundError):  # another process sweeps as well
            if left.stat().st_mtime < before:
                left.unlink()
