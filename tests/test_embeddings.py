"""Vectors on disk: real SQLite files, damaged ones among them."""

import hashlib
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

from tierflow.embeddings import DiskEmbeddings

Vector: TypeAlias = NDArray[np.float32]

DIMENSIONS = 8


def vectors(numbers: range) -> dict[bytes, Vector]:
    return {key(number): vector(number) for number in numbers}


def key(number: int) -> bytes:
    return hashlib.sha256(b"text %d" % number).digest()


def vector(number: int) -> Vector:
    return np.random.default_rng(number).normal(size=DIMENSIONS).astype(np.float32)


def same(found: dict[bytes, Vector], numbers: range) -> bool:
    return found.keys() == vectors(numbers).keys() and all(
        found[key(number)].tobytes() == vector(number).tobytes() for number in numbers
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "embeddings" / "some.sqlite"


def test_a_vector_is_found_again_bit_for_bit_by_another_process_s_store(path: Path) -> None:
    DiskEmbeddings(path, DIMENSIONS).put(vectors(range(2000)))

    found = DiskEmbeddings(path, DIMENSIONS).get([key(number) for number in range(1000, 2500)])

    assert same(found, range(1000, 2000))
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_the_file_holds_no_text(path: Path) -> None:
    store = DiskEmbeddings(path, DIMENSIONS)
    store.put(vectors(range(1)))
    store.close()

    assert b"text 0" not in path.read_bytes()


def test_the_oldest_go_when_the_limit_is_reached(path: Path) -> None:
    store = DiskEmbeddings(path, 4096, size_limit_mb=1)  # room for 63
    kept = {key(number): np.full(4096, number, np.float32) for number in range(200)}
    for start in range(0, 200, 10):
        store.put(dict(list(kept.items())[start : start + 10]))

    found = store.get(list(kept))

    assert found.keys() == set(list(kept)[-len(found) :])
    assert 60 <= len(found) <= 63
    store.close()
    assert path.stat().st_size < 2 * 1024 * 1024


def test_a_flipped_bit_in_a_vector_is_a_miss_that_is_mended(path: Path) -> None:
    store = DiskEmbeddings(path, DIMENSIONS)
    store.put(vectors(range(3)))
    store.close()
    whole = path.read_bytes()
    place = whole.index(vector(1).tobytes())
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 128]) + whole[place + 1 :])

    assert store.get([key(0), key(1), key(2)]).keys() == {key(0), key(2)}

    store.put(vectors(range(1, 2)))
    assert same(store.get([key(0), key(1), key(2)]), range(3))


def test_a_vector_of_another_length_is_a_miss(path: Path) -> None:
    DiskEmbeddings(path, DIMENSIONS).put(vectors(range(1)))

    assert DiskEmbeddings(path, DIMENSIONS + 1).get([key(0)]) == {}


@pytest.mark.parametrize("damage", ["foreign", "torn"])
def test_a_damaged_file_is_set_aside_and_work_goes_on(path: Path, damage: str) -> None:
    store = DiskEmbeddings(path, DIMENSIONS)
    store.put(vectors(range(500)))
    store.close()
    whole = path.read_bytes()
    torn = whole[:8192] + b"\xff" * (len(whole) - 8192)
    path.write_bytes(b"this is no database" * 100 if damage == "foreign" else torn)

    with pytest.warns(RuntimeWarning, match=r"are damaged .* kept as some\.sqlite\.damaged-"):
        assert store.get([key(0)]) == {}
    store.put(vectors(range(2)))

    assert same(store.get([key(0), key(1)]), range(2))
    assert len(list(path.parent.glob("*.damaged-*"))) == 1


def test_a_file_that_cannot_be_used_costs_one_warning_and_no_answer(tmp_path: Path) -> None:
    (tmp_path / "embeddings").write_text("a file where the folder should be")
    store = DiskEmbeddings(tmp_path / "embeddings" / "some.sqlite", DIMENSIONS)

    with pytest.warns(RuntimeWarning, match="cannot be used"):
        assert store.get([key(0)]) == {}

    store.put(vectors(range(1)))
    assert store.get([key(0)]) == {}


def test_a_file_that_is_locked_for_long_is_passed_over_and_used_later(path: Path) -> None:
    store = DiskEmbeddings(path, DIMENSIONS)
    store.put(vectors(range(1)))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    store.put(vectors(range(1, 2)))
    assert same(store.get([key(0), key(1)]), range(1))

    other.execute("ROLLBACK")
    other.close()
    store.put(vectors(range(1, 2)))
    assert same(store.get([key(0), key(1)]), range(2))


def test_threads_share_a_store(path: Path) -> None:
    store = DiskEmbeddings(path, DIMENSIONS)

    def work(number: int) -> bool:
        own = range(number, number + 5)
        store.put(vectors(own))
        return same(store.get([key(each) for each in own]), own)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(0, 200, 5)))
    assert same(store.get([key(number) for number in range(200)]), range(200))


def test_a_killed_writer_leaves_what_it_had_committed(path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from tests.test_embeddings import DIMENSIONS, vectors
from tierflow.embeddings import DiskEmbeddings
store = DiskEmbeddings(Path({str(path)!r}), DIMENSIONS)
store.put(vectors(range(100)))
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], check=False)

    found = DiskEmbeddings(path, DIMENSIONS).get([key(number) for number in range(100)])
    assert same(found, range(100))
