"""The candidate is the one that its neighbourhood agrees on, unless its wording forbids it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.caching.similar.likeness import (
    CONSENSUS,
    FEATURES,
    NEIGHBOURS,
    Likeness,
    Neighbour,
    likeness,
)
from tierflow.caching.similar.wording import compare, conflict, wording

ASK = "How do I open my account?"


def near(*those: tuple[float, str] | tuple[float, str, str]) -> list[Neighbour]:
    """Neighbours as (similarity, value) or (similarity, value, ask), nearest first."""
    return [
        Neighbour(number, each[0], each[1], each[2] if len(each) > 2 else ASK)
        for number, each in enumerate(those, start=1)
    ]


def named(found: Likeness) -> dict[str, float]:
    return dict(zip(FEATURES, found.features, strict=True))


def test_the_neighbourhood_has_more_say_than_the_nearest() -> None:
    found = likeness(ASK, near((0.95, "a"), (0.94, "b"), (0.93, "b"), (0.92, "b")), {}, {})

    assert found.neighbour == Neighbour(2, 0.94, "b", ASK)
    features = named(found)
    assert features["similarity"] == 0.94
    assert features["similarity of the nearest"] == 0.95
    assert features["margin over other answers"] == pytest.approx(-0.01)
    assert features["share of the five nearest"] == 0.75
    assert features["questions with this answer"] == pytest.approx(math.log(4))
    assert features["mean of its three nearest"] == pytest.approx(0.93)
    assert features["similarity of the farthest"] == 0.92


def test_many_that_are_far_do_not_outvote_one_that_is_near() -> None:
    far = [(0.6, "b")] * (NEIGHBOURS - 1)
    assert likeness(ASK, near((0.97, "a"), *far), {}, {}).neighbour.value == "a"


def test_a_veto_gives_way_to_another_of_the_same_answer() -> None:
    found = likeness(
        ASK,
        near((0.95, "a", "How do I close my account?"), (0.9, "a", "How to open an account?")),
        {},
        {},
    )
    assert (found.neighbour.id, found.veto) == (2, None)
    # The features of the wording are those of the one that is chosen.
    expected = compare(wording(ASK), wording("How to open an account?"))
    assert found.features[len(CONSENSUS) :] == expected


def test_a_veto_does_not_give_way_to_another_answer() -> None:
    found = likeness(
        ASK,
        near(
            (0.95, "a", "How do I close my account?"),
            (0.95, "a", "How do I not open my account?"),
            (0.9, "b", ASK),
        ),
        {},
        {},
    )
    assert (found.neighbour.id, found.veto) == (1, "antonym")


def test_the_record_of_an_answer_counts_for_and_against_it() -> None:
    one, other = (
        named(likeness(ASK, near((0.9, "a")), {}, {"a": record, "b": (9, 9)}))[
            "record of this answer"
        ]
        for record in ((9, 0), (0, 9))
    )
    assert one == pytest.approx(math.log(10))
    assert other == pytest.approx(-math.log(10))


def test_centres_count_where_they_are_known() -> None:
    two = near((0.9, "a"), (0.8, "b"))
    features = named(likeness(ASK, two, {"a": 0.7, "b": 0.4}, {}))
    assert features["similarity to the answer's centre"] == 0.7
    assert features["margin over other centres"] == pytest.approx(0.3)
    features = named(likeness(ASK, two, {}, {}))
    assert features["similarity to the answer's centre"] == 0.9
    assert features["margin over other centres"] == pytest.approx(0.3)


asks = st.one_of(
    st.text(max_size=40),
    st.lists(
        st.sampled_from(["how", "do", "I", "not", "open", "close", "my", "12", "3.5", "Berlin"]),
        max_size=8,
    ).map(" ".join),
)
neighbours = st.lists(
    st.tuples(st.floats(-1, 1), st.sampled_from("abc"), asks), min_size=1, max_size=NEIGHBOURS
).map(lambda those: near(*sorted(those, key=lambda each: -each[0])))


@given(
    ask=asks,
    those=neighbours,
    centred=st.dictionaries(st.sampled_from("abc"), st.floats(-1, 1)),
    record=st.dictionaries(
        st.sampled_from("abc"), st.tuples(st.integers(0, 10**6), st.integers(0, 10**6))
    ),
)
def test_whatever_is_near_the_features_are_as_many_finite_numbers(
    ask: str,
    those: list[Neighbour],
    centred: dict[str, float],
    record: dict[str, tuple[int, int]],
) -> None:
    found = likeness(ask, those, centred, record)

    assert len(found.features) == len(FEATURES) == len(set(FEATURES))
    assert all(math.isfinite(each) and abs(each) < 20 for each in found.features)
    assert found.neighbour in those
    # A veto stands only where all with this answer conflict, and never where the chosen does not.
    mine = [each for each in those if each.value == found.neighbour.value]
    conflicts = [conflict(wording(ask), wording(each.ask)) for each in mine]
    assert (found.veto is not None) == all(each is not None for each in conflicts)
    assert conflict(wording(ask), wording(found.neighbour.ask)) == found.veto


@given(one=asks, other=asks)
def test_wording_says_the_same_whichever_of_two_was_asked_first(one: str, other: str) -> None:
    there = likeness(one, near((0.9, "a", other)), {}, {})
    back = likeness(other, near((0.9, "a", one)), {}, {})
    assert there.veto == back.veto
    assert there.features == back.features


@given(ask=asks, those=neighbours)
def test_the_names_of_answers_do_not_matter(ask: str, those: list[Neighbour]) -> None:
    def renamed(found: list[Neighbour]) -> list[Neighbour]:
        return [Neighbour(e.id, e.similarity, f"x{e.value}", e.ask) for e in found]

    found, again = likeness(ask, those, {}, {}), likeness(ask, renamed(those), {}, {})
    assert (again.neighbour.id, again.features) == (found.neighbour.id, found.features)
