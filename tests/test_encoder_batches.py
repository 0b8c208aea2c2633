"""Which texts run together: over a model that is a sum, so that every vector can be checked."""

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tierflow.encoder_batches import Batches

Matrix: TypeAlias = NDArray[np.int64]
Vectors: TypeAlias = NDArray[np.float32]

PAD = 7


class Sums:
    """A model: a row's vector is its length and its sum. Remembers the shape of every run."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, int]] = []

    def __call__(self, numbers: Matrix, mask: Matrix) -> Vectors:
        self.shapes.append((numbers.shape[0], numbers.shape[1]))
        assert (numbers[mask == 0] == PAD).all()
        return np.stack([mask.sum(axis=1), (numbers * mask).sum(axis=1)], axis=1).astype(np.float32)


def expected(rows: list[list[int]]) -> list[list[float]]:
    return [[len(row), sum(row)] for row in rows]


@given(rows=st.lists(st.lists(st.integers(0, 99), max_size=40), min_size=1, max_size=60))
def test_every_row_gets_its_own_vector_whatever_it_is_run_with(rows: list[list[int]]) -> None:
    sums = Sums()

    found = Batches(sums, PAD, most_tokens=100).encode(rows)

    assert found.tolist() == expected(rows)
    assert all(count == 1 or count * width <= 100 for count, width in sums.shapes)
    assert sum(count for count, _ in sums.shapes) == len(rows)


@given(lengths=st.lists(st.integers(1, 200), min_size=1, max_size=60))
def test_short_rows_are_not_padded_to_the_longest(lengths: list[int]) -> None:
    sums = Sums()

    Batches(sums, PAD).encode([[1] * length for length in lengths])

    run = sum(count * width for count, width in sums.shapes)
    assert run <= sum(lengths) * 1.1 + 3 * len(sums.shapes)


class Gate:
    """A model whose first run waits until it is let go on, and then fails or answers."""

    def __init__(self, fails: Exception | None = None) -> None:
        self.sums = Sums()
        self.entered = threading.Event()
        self.may_go = threading.Event()
        self._fails = fails

    def __call__(self, numbers: Matrix, mask: Matrix) -> Vectors:
        if not self.entered.is_set():
            self.entered.set()
            assert self.may_go.wait(30)
            if self._fails is not None:
                raise self._fails
        return self.sums(numbers, mask)


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


def waiting(batches: Batches) -> int:
    return len(batches._waiting)  # pyright: ignore[reportPrivateUsage]


def test_what_waits_while_the_model_is_busy_is_run_at_once() -> None:
    gate = Gate()
    batches = Batches(gate, PAD)
    rows = [[number, 3, 4] for number in range(30)]
    with ThreadPoolExecutor(31) as pool:
        first = pool.submit(batches.encode, [[5]])
        assert gate.entered.wait(30)
        others = [pool.submit(batches.encode, [row]) for row in rows]
        wait_until(lambda: waiting(batches) == 30)
        gate.may_go.set()
        found = [other.result()[0].tolist() for other in others]

    assert first.result().tolist() == [[1, 5]]
    assert found == expected(rows)
    assert gate.sums.shapes == [(1, 1), (30, 3)]


def test_a_text_does_not_wait_for_the_whole_of_a_long_list() -> None:
    gate = Gate()
    batches = Batches(gate, PAD, most_tokens=10)
    with ThreadPoolExecutor(2) as pool:
        long = pool.submit(batches.encode, [[1] * 10] * 50)
        assert gate.entered.wait(30)
        short = pool.submit(batches.encode, [[3] * 4])
        wait_until(lambda: waiting(batches) == 1)
        gate.may_go.set()
        assert short.result().tolist() == [[4, 12]]
        long.result()

    assert gate.sums.shapes.index((1, 4)) == 1


def test_two_lanes_run_two_batches_at_a_time() -> None:
    gate = Gate()
    batches = Batches(gate, PAD, lanes=2)
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(batches.encode, [[1]])
        assert gate.entered.wait(30)

        assert batches.encode([[2, 2]]).tolist() == [[2, 4]]

        assert not held.done()
        gate.may_go.set()
        assert held.result().tolist() == [[1, 1]]


@pytest.mark.parametrize("lanes", [1, 3])
def test_many_threads_each_get_their_own_vectors(lanes: int) -> None:
    batches = Batches(Sums(), PAD, most_tokens=30, lanes=lanes)

    def work(seed: int) -> bool:
        draw = random.Random(seed)
        rows = [[draw.randrange(99)] * draw.randrange(12) for _ in range(draw.randrange(1, 9))]
        return bool(batches.encode(rows).tolist() == expected(rows))

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(work, range(2000)))
    assert waiting(batches) == 0


@pytest.mark.parametrize("rows", [[[2]], [[2], [3]]])
def test_a_failed_run_fails_for_who_ran_it_and_the_others_run_theirs(rows: list[list[int]]) -> None:
    gate = Gate(MemoryError("too much"))
    batches = Batches(gate, PAD)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(batches.encode, [[1]])
        assert gate.entered.wait(30)
        others = [pool.submit(batches.encode, rows) for _ in range(6)]
        wait_until(lambda: waiting(batches) == 6)
        gate.may_go.set()

        with pytest.raises(MemoryError, match="too much"):
            first.result()
        assert all(other.result().tolist() == expected(rows) for other in others)


def test_the_rows_of_a_failed_leader_s_company_are_run_by_themselves() -> None:
    calls: list[int] = []
    gate = Gate()

    def fails_for_many(numbers: Matrix, mask: Matrix) -> Vectors:
        calls.append(len(numbers))
        if len(calls) == 2:
            raise MemoryError("too much at once")
        return gate(numbers, mask)

    batches = Batches(fails_for_many, PAD)
    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(batches.encode, [[1]])
        assert gate.entered.wait(30)
        others = [pool.submit(batches.encode, [[number]]) for number in range(5)]
        wait_until(lambda: waiting(batches) == 5)
        gate.may_go.set()
        first.result()
        failures = [other.exception() for other in others]

    assert calls[1] == 5
    assert sum(isinstance(failure, MemoryError) for failure in failures) == 1
    assert failures.count(None) == 4
