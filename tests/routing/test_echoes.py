"""What a provider repeats of a request is left out of errors; what it says itself stays."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.routing.echoes import Unsaid

ASKED = "My name is Alice Smith and my parcel 4711 has not come to alice@example.org yet."


def heard(*contents: Any) -> Unsaid:
    return Unsaid("sk-key", [{"role": "user", "content": each} for each in contents])


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("Invalid request: my parcel 4711 has not come", "Invalid request: ***"),
        ("Flagged: 'Alice Smith and my parcel'. Try again.", "Flagged: *** Try again."),
        ("No user alice@example.org here", "No user *** here"),
        ("Wrong key sk-key.", "Wrong key ***."),
        ("The model has not been found", "The model has not been found"),
        ("context length is 8192 tokens", "context length is 8192 tokens"),
    ],
)
def test_what_is_quoted_is_masked_and_the_rest_is_not(said: str, left: str) -> None:
    assert heard("You sort tickets.", ASKED).left_of(said) == left
    assert heard(ASKED).is_in(said) is (said != left)


def test_parts_of_a_message_are_read_too() -> None:
    assert heard([{"type": "text", "text": ASKED}]).left_of("about 4711.") == "about ***"


@given(st.text(), st.text(), st.text())
def test_a_whole_prompt_of_three_words_or_more_is_never_repeated(a: str, b: str, c: str) -> None:
    asked = " ".join(word for word in f"{a} {b} {c}".split() if word.strip("\"'`.,:;!?()[]{}<>…"))
    if len(asked.split()) >= 3:
        assert asked not in heard(asked).left_of(f"It says {asked} and so on")
