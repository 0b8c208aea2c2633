"""Centres tell which answer's questions a new one lies among, as long as answers are kinds."""

import numpy as np
import pytest

from tests.caching.similar.clouds import cloud, unit
from tierflow.caching.similar.centres import Centres

VECTORS = cloud(60)
MOST = 4096


def filled() -> Centres:
    centres = Centres()
    for number, vector in enumerate(VECTORS):
        centres.add("abc"[number % 3], vector)
    return centres


def test_the_similarity_to_a_centre_is_the_cosine_to_the_mean() -> None:
    means = unit(np.stack([VECTORS[start::3].mean(axis=0) for start in range(3)]))
    asked = VECTORS[5]

    found = filled().similarities(asked, "cab")

    assert list(found) == ["c", "a", "b"]
    for value, mean in zip("abc", means, strict=True):
        assert found[value] == pytest.approx(float(mean @ asked), abs=1e-5)


def test_the_order_in_which_questions_came_does_not_matter() -> None:
    centres = Centres()
    for number in reversed(range(len(VECTORS))):
        centres.add("abc"[number % 3], VECTORS[number])
    expected = filled().similarities(VECTORS[0], "abc")
    for value, similarity in centres.similarities(VECTORS[0], "abc").items():
        assert similarity == pytest.approx(expected[value], abs=1e-5)


def test_answers_that_are_not_known_have_no_centre() -> None:
    assert list(filled().similarities(VECTORS[0], ["x", "b"])) == ["b"]
    assert filled().similarities(VECTORS[0], ["x"]) == {}
    assert filled().similarities(VECTORS[0], []) == {}
    assert Centres().similarities(VECTORS[0], "abc") == {}


def test_a_vector_that_is_changed_later_changes_no_centre() -> None:
    centres, vector = Centres(), VECTORS[0].copy()
    centres.add("a", vector)
    vector[:] = 0
    assert centres.similarities(VECTORS[0], "a")["a"] == pytest.approx(1.0, abs=1e-5)


def test_opposites_cancel_out_and_are_near_to_nothing() -> None:
    centres = Centres()
    centres.add("a", VECTORS[0])
    centres.add("a", -VECTORS[0])
    assert centres.similarities(VECTORS[0], "a") == {"a": 0.0}


def test_too_many_answers_are_of_no_kind() -> None:
    centres = Centres()
    for number in range(MOST):
        centres.add(f"answer {number}", VECTORS[0])
    assert len(centres.similarities(VECTORS[0], ["answer 1", "answer 2"])) == 2

    centres.add("one more", VECTORS[0])

    assert centres.similarities(VECTORS[0], ["answer 1"]) == {}
    centres.add("answer 1", VECTORS[0])
    assert centres.similarities(VECTORS[0], ["answer 1"]) == {}
