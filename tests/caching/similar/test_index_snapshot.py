"""A snapshot gives the same index back, or nothing at all and a line that names the file."""

import hashlib
import json
import logging
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.caching.similar.clouds import DIMS, alike, cloud
from tierflow.caching.similar.index import PartitionIndex
from tierflow.caching.similar.snapshot import MAGIC, VERSION, load, save

VECTORS = cloud(400)
NAMES: Any = {"partition": "p", "fingerprint": "mini:1"}


@pytest.fixture(params=[1000, 50], ids=["flat", "packed"])
def index(request: pytest.FixtureRequest) -> PartitionIndex:
    index = PartitionIndex(DIMS, flat_limit=request.param)
    index.add_many(range(10, 410), VECTORS)
    index.settle()
    for gone in range(10, 60):
        index.remove(gone)
    index.add(1000, VECTORS[0])
    return index


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "indexes" / "p.idx"


def found(index: PartitionIndex) -> list[list[tuple[int, float]]]:
    return [index.search(vector, 400) for vector in VECTORS[:20]]


def resealed(body: bytes) -> bytes:
    return body + hashlib.sha256(body).digest()


def with_header(data: bytes, **changes: Any) -> bytes:
    """The same file with another header, and a checksum that is right."""
    start = len(MAGIC) + 4
    end = start + int.from_bytes(data[len(MAGIC) : start], "little")
    text = json.dumps(json.loads(data[start:end]) | changes).encode()
    return resealed(MAGIC + len(text).to_bytes(4, "little") + text + data[end:-32])


def test_a_snapshot_gives_the_same_answers(index: PartitionIndex, path: Path) -> None:
    assert save(index, path, upto_seq=77, **NAMES)

    loaded = load(path, **NAMES)

    assert loaded is not None
    again, upto_seq = loaded
    assert upto_seq == 77
    assert len(again) == len(index) == 351
    for vector in VECTORS[:20]:
        # Neighbours that are equally near may change places.
        pairs = zip(again.search(vector, 64), index.search(vector, 64), strict=True)
        assert all(abs(one - other) <= 1e-3 for (_, one), (_, other) in pairs)
        assert alike(again.search(vector, 1), index.search(vector, 1))
    assert again.remove(100)
    assert not again.remove(10)
    again.add(2000, VECTORS[3])
    assert 2000 in dict(again.search(VECTORS[3], 2))


def test_a_loaded_index_goes_on_packing(index: PartitionIndex, path: Path) -> None:
    save(index, path, upto_seq=1, **NAMES)
    loaded = load(path, flat_limit=50, **NAMES)
    assert loaded is not None
    again, _ = loaded
    again.add_many(range(5000, 5400), cloud(400, seed=3))
    again.settle()
    assert len(again) == 751
    assert {each for one in found(again) for each, _ in one} >= set(range(60, 100))


def test_an_empty_index_can_be_saved(path: Path) -> None:
    save(PartitionIndex(DIMS), path, upto_seq=0, **NAMES)
    loaded = load(path, **NAMES)
    assert loaded is not None
    assert len(loaded[0]) == 0


def test_only_the_owner_may_read_it(index: PartitionIndex, path: Path) -> None:
    before = os.umask(0)
    try:
        save(index, path, upto_seq=1, **NAMES)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_a_missing_file_is_no_news(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert load(path, **NAMES) is None
    assert not caplog.records


def refused(path: Path, caplog: pytest.LogCaptureFixture, **names: str) -> str:
    """Load what must not load. Returns the one line about it."""
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert load(path, **(NAMES | names)) is None
    (record,) = caplog.records
    line = record.getMessage()
    assert str(path) in line
    assert "\n" not in line
    return line


def test_another_partition_or_encoder_is_refused(
    index: PartitionIndex, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(index, path, upto_seq=1, **NAMES)
    assert "another partition" in refused(path, caplog, partition="q")
    assert "encoder" in refused(path, caplog, fingerprint="mini:2")


def test_another_version_or_format_is_refused(
    index: PartitionIndex, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(index, path, upto_seq=1, **NAMES)
    data = path.read_bytes()

    path.write_bytes(with_header(data, version=VERSION + 1))
    assert f"version {VERSION}" in refused(path, caplog)
    path.write_bytes(b"IwFl" + data[4:])
    assert "no index of tierflow" in refused(path, caplog)
    path.write_bytes(b"")
    refused(path, caplog)
    path.unlink()
    path.mkdir()
    assert "cannot be read" in refused(path, caplog)


@pytest.mark.parametrize(
    "changes",
    [
        {"packed": 10**12},
        {"packed": 1},
        {"flat": -1},
        {"flat": 0},
        {"lists": 10**9},
        {"dimensions": 0},
        {"dimensions": 63},
        {"flat": "many"},
        {"more": 1},
    ],
    ids=str,
)
def test_a_header_that_lies_under_a_right_checksum_is_refused(
    index: PartitionIndex, path: Path, caplog: pytest.LogCaptureFixture, changes: dict[str, Any]
) -> None:
    save(index, path, upto_seq=1, **NAMES)
    path.write_bytes(with_header(path.read_bytes(), **changes))
    refused(path, caplog)


def test_numbers_that_lie_under_a_right_checksum_are_refused(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    index = PartitionIndex(DIMS, flat_limit=50)
    index.add_many(range(400), VECTORS)
    index.settle()
    save(index, path, upto_seq=1, **NAMES)
    data = bytearray(path.read_bytes()[:-32])
    codes = 400 * DIMS
    rows = slice(len(data) - codes - 400 * 8, len(data) - codes)
    for number in (-1, 400, 2**60, 0):
        data[rows] = np.full(400, number, "<i8").tobytes()
        path.write_bytes(resealed(bytes(data)))
        refused(path, caplog)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_noticed(
    index: PartitionIndex, path: Path, where: float, bit: int
) -> None:
    if not path.exists():
        save(index, path, upto_seq=1, **NAMES)
    data = bytearray(path.read_bytes())
    data[int(where * len(data))] ^= 1 << bit
    flipped = path.with_name("flipped.idx")
    flipped.write_bytes(data)
    assert load(flipped, **NAMES) is None


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), tail=st.binary(max_size=64))
def test_a_file_that_was_cut_or_overwritten_at_the_end_is_noticed(
    index: PartitionIndex, path: Path, where: float, tail: bytes
) -> None:
    if not path.exists():
        save(index, path, upto_seq=1, **NAMES)
    data = path.read_bytes()
    cut = path.with_name("cut.idx")
    cut.write_bytes(data[: int(where * len(data))] + tail)
    assert load(cut, **NAMES) is None


def test_a_disk_that_cannot_be_written_costs_a_warning(
    index: PartitionIndex, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file" / "p.idx"
    blocked.parent.write_text("not a folder")
    with caplog.at_level(logging.WARNING):
        assert not save(index, blocked, upto_seq=1, **NAMES)
    assert str(blocked) in caplog.text


def test_what_a_killed_process_left_behind_is_swept(index: PartitionIndex, path: Path) -> None:
    save(index, path, upto_seq=1, **NAMES)
    old, young = (path.with_name(f"{path.name}.{name}.new") for name in ("old", "young"))
    for each in (old, young):
        each.write_bytes(b"half")
    day_ago = time.time() - 24 * 3600
    os.utime(old, (day_ago, day_ago))

    save(index, path, upto_seq=2, **NAMES)

    assert sorted(path.parent.iterdir()) == sorted([path, young])


def test_a_save_that_is_killed_leaves_the_snapshot_before_it(tmp_path: Path) -> None:
    path = tmp_path / "p.idx"
    code = (
        "import sys, pathlib, numpy\n"
        "from tierflow.caching.similar.index import PartitionIndex\n"
        "from tierflow.caching.similar.snapshot import save\n"
        "index = PartitionIndex(64); index.add_many(range(400), numpy.eye(64)[[0] * 400])\n"
        "path, seq = pathlib.Path(sys.argv[1]), 0\n"
        "while True:\n"
        "    seq += 1; save(index, path, partition='p', fingerprint='mini:1', upto_seq=seq)\n"
        "    print(seq, flush=True)\n"
    )
    root = Path(__file__).parents[3]
    for lines in (1, 20):
        command = [sys.executable, "-c", code, str(path)]
        with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as saving:
            assert saving.stdout is not None
            written = [int(saving.stdout.readline()) for _ in range(lines)]
            saving.kill()
            saving.stdout.read()
        loaded = load(path, **NAMES)
        assert loaded is not None
        assert loaded[1] >= written[-1]
        assert len(loaded[0]) == 400


def test_a_snapshot_that_is_taken_while_others_write_is_whole(path: Path) -> None:
    index = PartitionIndex(DIMS, flat_limit=50)
    index.add_many(range(100), VECTORS[:100])
    over = threading.Event()

    def write() -> None:
        for number in range(100, 2000):
            index.add(number, VECTORS[number % 400])
            if number % 2:
                index.remove(number)
        over.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not over.is_set():
        assert save(index, path, upto_seq=100, **NAMES)
        loaded = load(path, **NAMES)
        assert loaded is not None
        assert 100 <= len(loaded[0]) < 2000
        for lasting in range(100):
            assert lasting in dict(loaded[0].search(VECTORS[lasting], 16))
    writer.join()
    index.close()
