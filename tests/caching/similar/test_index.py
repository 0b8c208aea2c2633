"""The index finds what is nearest, flat or packed, and nothing that was removed."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.caching.similar.clouds import DIMS, alike, cloud, near, nearest, unit
from tierflow.caching.similar.index import PartitionIndex

FLAT, PACKED = 10_000, 100
either = pytest.mark.parametrize("flat_limit", [FLAT, PACKED], ids=["flat", "packed"])


@pytest.fixture
def index(flat_limit: int) -> Iterator[PartitionIndex]:
    index = PartitionIndex(DIMS, flat_limit=flat_limit)
    yield index
    index.close()


def ids(found: list[tuple[int, float]]) -> list[int]:
    return [each for each, _ in found]


@either
def test_an_empty_index_finds_nothing(index: PartitionIndex) -> None:
    assert index.search(cloud(1)[0], 5) == []
    assert len(index) == 0
    assert not index.remove(1)


@either
def test_the_nearest_come_first_with_their_similarities(index: PartitionIndex) -> None:
    vectors = cloud(800)
    index.add_many(range(800), vectors)
    index.settle()

    for asked in near(vectors[:100]):
        found = index.search(asked, 3)
        true = nearest(vectors, asked, 3)
        assert [one for _, one in found] == sorted((one for _, one in found), reverse=True)
        assert found[0][1] == pytest.approx(true[0][1], abs=3e-3)
        assert vectors[found[0][0]] @ asked == pytest.approx(true[0][1], abs=3e-3)


def test_flat_similarities_are_exact_to_a_thousandth() -> None:
    vectors = cloud(2000, dims=384)
    index = PartitionIndex(384)
    index.add_many(range(2000), vectors)

    for asked in cloud(50, seed=5, dims=384):
        found = index.search(asked, 32)
        assert ids(found) == ids(nearest(vectors, asked, 32)) or [s for _, s in found] == (
            pytest.approx([s for _, s in nearest(vectors, asked, 32)], abs=1e-3)
        )
        for each, similarity in found:
            assert similarity == pytest.approx(float(vectors[each] @ asked), abs=1e-3)


def test_packed_similarities_of_what_is_near_are_exact_to_a_thousandth() -> None:
    vectors = cloud(2000, dims=384)
    index = PartitionIndex(384, flat_limit=100)
    index.add_many(range(2000), vectors)
    index.settle()

    errors = [
        abs(similarity - float(vectors[each] @ asked))
        for asked in near(vectors[:300], noise=0.02)
        for each, similarity in index.search(asked, 8)
        if similarity >= 0.8
    ]

    assert len(errors) >= 300
    assert np.quantile(errors, 0.999) <= 1e-3
    index.close()


def test_a_packed_index_finds_ninety_nine_in_a_hundred_near_neighbours() -> None:
    vectors = cloud(12_000)
    index = PartitionIndex(DIMS, flat_limit=1000)
    index.add_many(range(12_000), vectors)
    index.settle()
    asked = near(vectors[:1000], noise=0.06)

    true = (asked @ vectors.T).max(axis=1)
    right = [
        float(vectors[index.search(each, 8)[0][0]] @ each) >= similarity - 3e-3
        for each, similarity in zip(asked, true.tolist(), strict=True)
        if similarity >= 0.8
    ]

    assert len(right) >= 900
    assert np.mean(right) >= 0.99
    index.close()


@either
def test_what_is_removed_is_not_found_and_hides_nothing(index: PartitionIndex) -> None:
    asked = cloud(1)[0]
    crowd = near(np.repeat(asked[None], 600, axis=0), noise=0.01)
    further = near(np.repeat(asked[None], 20, axis=0), noise=0.05)
    index.add_many(range(600), crowd)
    index.add_many(range(1000, 1020), further)
    index.settle()

    assert all(index.remove(each) for each in range(600))

    assert sorted(ids(index.search(asked, 20))) == list(range(1000, 1020))
    assert len(index) == 20
    assert not index.remove(0)


@either
def test_an_id_that_is_added_again_has_its_newest_vector(index: PartitionIndex) -> None:
    vectors = cloud(300)
    index.add_many(range(300), vectors)
    index.settle()
    there = unit(-vectors[:1].astype(np.float64))[0]

    index.add(7, there)

    assert alike(index.search(there, 1), [(7, 1.0)])
    assert len(index) == 300
    assert [similarity for each, similarity in index.search(vectors[7], 300) if each == 7] == (
        [pytest.approx(float(vectors[7] @ there), abs=1e-2)]
    )


@either
def test_of_an_id_that_comes_twice_the_last_counts(index: PartitionIndex) -> None:
    vectors = cloud(3)
    index.add_many([1, 2, 1], vectors)
    assert len(index) == 2
    assert alike(index.search(vectors[2], 1), [(1, 1.0)])


@either
def test_packing_again_and_again_changes_no_similarity(index: PartitionIndex) -> None:
    vectors = cloud(400)
    index.add_many(range(400), vectors)
    index.settle()
    before = dict(index.search(vectors[0], 400))

    for start in range(400, 4000, 400):
        index.add_many(range(start, start + 400), cloud(400, seed=start))
        index.settle()
    for gone in range(400, 4000):
        index.remove(gone)
    index.settle()

    after = dict(index.search(vectors[0], 400))
    both = before.keys() & after.keys()
    assert len(both) >= 100
    assert {each: after[each] for each in both} == {each: before[each] for each in both}


@either
@pytest.mark.parametrize(
    ("vector", "word"),
    [
        (np.full(DIMS, np.nan), "length 1"),
        (np.zeros(DIMS), "length 1"),
        (np.ones(DIMS), "length 1"),
        (np.ones(DIMS + 1), f"{DIMS} dimensions"),
        (np.ones((1, DIMS)), f"{DIMS} dimensions"),
    ],
)
def test_what_is_no_unit_vector_is_refused(
    index: PartitionIndex, vector: np.ndarray, word: str
) -> None:
    with pytest.raises(ValueError, match=word):
        index.add(1, vector.astype(np.float32))
    with pytest.raises(ValueError, match=word):
        index.search(vector.astype(np.float32), 1)
    assert len(index) == 0


@either
def test_ids_and_vectors_come_in_equal_numbers(index: PartitionIndex) -> None:
    with pytest.raises(ValueError, match="2 ids came with 3 vectors"):
        index.add_many([1, 2], cloud(3))
    with pytest.raises(ValueError, match="at least 1"):
        index.search(cloud(1)[0], 0)
    with pytest.raises(ValueError, match="at least 1"):
        PartitionIndex(0)


@pytest.mark.parametrize("dims", [1, 2, 3, 7, 100, 384])
def test_vectors_of_any_size_can_be_kept(dims: int) -> None:
    vectors = cloud(50, dims=dims)
    index = PartitionIndex(dims)
    index.add_many(range(50), vectors)
    for asked in vectors:
        assert index.search(asked, 1)[0][1] == pytest.approx(1.0, abs=2e-3)


VECTORS = cloud(64, seed=7)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 40), st.integers(0, 63)),
        st.tuples(st.just("remove"), st.integers(0, 40), st.just(0)),
        st.tuples(st.just("many"), st.integers(0, 30), st.integers(0, 50)),
        st.tuples(st.just("settle"), st.just(0), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=60)
@given(steps=steps, flat_limit=st.sampled_from([1, 5, 16, 1000]))
def test_an_index_holds_what_a_dictionary_would(
    steps: list[tuple[str, int, int]], flat_limit: int
) -> None:
    index = PartitionIndex(DIMS, flat_limit=flat_limit)
    model: dict[int, int] = {}
    for what, one, row in steps:
        if what == "add":
            index.add(one, VECTORS[row])
            model[one] = row
        elif what == "remove":
            assert index.remove(one) == (model.pop(one, None) is not None)
        elif what == "many":
            index.add_many(range(one, one + 10), VECTORS[row : row + 10])
            model.update(zip(range(one, one + 10), range(row, row + 10), strict=True))
        else:
            index.settle()
        assert len(index) == len(model)
        found = index.search(VECTORS[row], 64)
        assert sorted(ids(found)) == sorted(model)
        for each, similarity in found:
            true = float(VECTORS[model[each]] @ VECTORS[row])
            assert similarity == pytest.approx(true, abs=2e-2)
    index.close()
