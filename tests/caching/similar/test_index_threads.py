"""While the index is packed anew, searches, additions and removals go on, and none is lost."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.caching.similar.clouds import DIMS, Vectors, alike, cloud
from tierflow.caching.similar.index import PartitionIndex

WRITERS = 4
STEPS = 1200
STRIDE = 1_000_000


def run_all(*works: Callable[[], object]) -> None:
    with ThreadPoolExecutor(len(works)) as pool:
        for done in [pool.submit(work) for work in works]:
            done.result()


def churn(index: PartitionIndex, number: int, vectors: Vectors, kept: dict[int, int]) -> None:
    """Add and remove ids of our own, and check each time that we see what we did."""
    choose = random.Random(number)
    for step in range(STEPS):
        if kept and choose.random() < 0.4:
            gone = choose.choice(list(kept))
            row = kept.pop(gone)
            assert index.remove(gone)
            assert gone not in {each for each, _ in index.search(vectors[row], 64)}
        else:
            # Some ids come back, with another vector.
            new = number * STRIDE + choose.randrange(STEPS // 2)
            row = number * STEPS + step
            index.add(new, vectors[row])
            kept[new] = row
            assert new in {each for each, _ in index.search(vectors[row], 8)}


@pytest.mark.parametrize("flat_limit", [8, 100])
def test_every_thread_sees_what_it_did_while_packing_goes_on(flat_limit: int) -> None:
    vectors = cloud(WRITERS * STEPS)
    index = PartitionIndex(DIMS, flat_limit=flat_limit)
    kept: list[dict[int, int]] = [{} for _ in range(WRITERS)]

    def work(number: int) -> Callable[[], None]:
        return lambda: churn(index, number, vectors, kept[number])

    run_all(*(work(number) for number in range(WRITERS)))

    index.settle()
    expected = {each: row for one in kept for each, row in one.items()}
    assert len(index) == len(expected)
    for each, row in expected.items():
        assert each in {found for found, _ in index.search(vectors[row], 8)}
    assert {each for each, _ in index.search(vectors[0], 10_000)} <= expected.keys()
    index.close()


def test_what_stays_is_found_at_every_moment_of_packing() -> None:
    vectors = cloud(6000)
    index = PartitionIndex(DIMS, flat_limit=50)
    lasting = range(200)
    index.add_many(lasting, vectors[:200])
    over = threading.Event()

    def write() -> None:
        try:
            for start in range(200, 6000, 50):
                index.add_many(range(start, start + 50), vectors[start : start + 50])
                for gone in range(start, start + 25):
                    assert index.remove(gone)
        finally:
            over.set()

    def look() -> None:
        choose = random.Random(1)
        while not over.is_set():
            row = choose.choice(lasting)
            assert alike(index.search(vectors[row], 1), [(row, 1.0)], 1e-2)

    run_all(write, look, look)

    index.settle()
    assert len(index) == 200 + 5800 // 2
    index.close()


def test_removals_during_a_packing_are_not_undone_by_it() -> None:
    vectors = cloud(20_000)
    index = PartitionIndex(DIMS, flat_limit=10_000)
    index.add_many(range(20_000), vectors)

    gone = range(0, 20_000, 3)
    assert all(index.remove(each) for each in gone)
    back = range(0, 20_000, 6)
    for each in back:
        index.add(each, vectors[each - 1])
    index.settle()

    assert len(index) == 20_000 - len(gone) + len(back)
    for each in gone[:200]:
        found = dict(index.search(vectors[each], 16))
        assert each % 6 == 0 or each not in found
    for each in back[:200]:
        assert each in dict(index.search(vectors[each - 1], 16))
    index.close()


def test_an_index_can_be_closed_while_it_packs_and_still_answers() -> None:
    vectors = cloud(30_000)
    index = PartitionIndex(DIMS, flat_limit=20_000)
    index.add_many(range(30_000), vectors)

    index.close()

    assert len(index) == 30_000
    assert alike(index.search(vectors[5], 1), [(5, 1.0)], 1e-2)
    assert not [each for each in threading.enumerate() if each.name == "tierflow-pack"]
    index.add(30_001, vectors[5])
    assert {each for each, _ in index.search(vectors[5], 2)} == {5, 30_001}


def test_an_index_of_which_all_was_removed_packs_to_nothing() -> None:
    vectors = cloud(500)
    index = PartitionIndex(DIMS, flat_limit=50)
    index.add_many(range(500), vectors)
    index.settle()
    for each in range(500):
        assert index.remove(each)
    index.settle()
    assert len(index) == 0
    assert index.search(vectors[0], 5) == []
    index.add(1, vectors[1])
    assert alike(index.search(vectors[1], 5), [(1, 1.0)], 1e-2)
    index.close()
