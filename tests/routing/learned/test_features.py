import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.routing.learned import describe

LINES = st.lists(st.text(max_size=12), max_size=12).map("\n".join)


@pytest.mark.parametrize("value", ["", "A", "Z", "é", "not a choice", "\x00"])
def test_any_value_is_described_by_the_same_names(value: str) -> None:
    usual = describe("Which?\none\ntwo", "It is one. The answer is (A).", "A")
    found = describe("", "", value)
    assert list(found) == list(usual)
    assert all(np.isfinite(each) for each in found.values())


@given(ask=LINES, reply=LINES, value=st.sampled_from(["", "A", "B", "J"]))
def test_any_texts_are_described_in_finite_numbers(ask: str, reply: str, value: str) -> None:
    assert all(np.isfinite(each) for each in describe(ask, reply, value).values())


def test_a_choice_is_compared_with_the_reasoning() -> None:
    ask = "How much?\n10 km\n12.5 km\nnone of these"
    fits = describe(ask, "5 times 2.5 is 12.5. The answer is (B).", "B")
    off = describe(ask, "5 times 2.5 is 12.5. The answer is (A).", "A")
    assert (fits["number_reached"], off["number_reached"]) == (1, 0)
    assert fits["number_off"] < off["number_off"]
    assert describe(ask, "It is not there.", "C")["choice_is_none_of"] == 1


def test_a_chosen_number_has_its_place_among_the_others() -> None:
    ask = "How much?\n30 km\n10 km\n20 km\nnone of these\n30 miles"

    ranks = {value: describe(ask, "", value)["number_rank"] for value in "ABCDE"}
    again = {value: describe(ask, "", value)["number_again"] for value in "ABCDE"}

    assert ranks == {"A": 2 / 3, "B": 0, "C": 1 / 3, "D": 0.5, "E": 2 / 3}
    assert again == {"A": 1 / 3, "B": 0, "C": 0, "D": 0, "E": 1 / 3}
    assert describe(ask, "", "B")["number_off_middle"] == 0.5


def test_a_choice_is_compared_with_the_others_and_the_question() -> None:
    ask = "What do red foxes eat?\nred berries\nred grass\nmice, mostly mice\nred stones"
    berries, mice = (describe(ask, "", value) for value in "AC")

    assert berries["choice_asked"] > 0 > mice["choice_asked"]
    assert mice["choice_rare"] > 0 > berries["choice_rare"]
    assert (berries["choice_form"], mice["choice_form"]) == (3 / 4, 1 / 4)
    assert (mice["length_rank"], mice["choice_longest"]) == (1, 1)
    assert mice["length_ratio"] > 1 > describe(ask, "", "B")["length_ratio"]


def test_a_reply_is_measured_against_the_ask() -> None:
    echo = describe("Where do foxes live?", "Where do foxes live?", "")
    says = describe("Where do foxes live?", "Foxes live in dens under the roots of trees.", "")

    assert (echo["reply_to_ask"], echo["reply_new_words"]) == (1, 0)
    assert says["reply_to_ask"] > 2
    assert says["reply_new_words"] == 4 / 6
