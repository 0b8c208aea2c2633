"""Policy: which answers may be kept, and for how long."""

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow import ExactCache, SemanticCache

temperatures = st.lists(st.none() | st.floats(0, 2))


@given(temperatures)
def test_only_answers_of_temperature_0_may_be_kept(found: list[float | None]) -> None:
    assert ExactCache().allows(found) == all(each == 0 for each in found)


@given(temperatures)
def test_any_temperature_keeps_sampled_answers_too(found: list[float | None]) -> None:
    assert ExactCache(any_temperature=True).allows(found)


@pytest.mark.parametrize("ttl_s", [0, -1, -0.5])
def test_a_time_to_live_that_is_over_at_once_is_refused_with_the_remedy(ttl_s: float) -> None:
    with pytest.raises(ValueError, match=r"ttl_s is .* cache=None for off"):
        ExactCache(ttl_s=ttl_s)


@pytest.mark.parametrize("name", ["stale_s", "failures_ttl_s"])
def test_a_time_below_0_is_refused(name: str) -> None:
    below: dict[str, Any] = {name: -1}
    with pytest.raises(ValueError, match=f"{name} is -1, but must not be below 0"):
        ExactCache(**below)
    off: dict[str, Any] = {name: 0}
    assert getattr(ExactCache(**off), name) == 0


def test_tags_that_are_one_text_are_refused_with_the_remedy() -> None:
    text: Any = "mail"
    with pytest.raises(TypeError, match=r"tags=\('mail',\)"):
        ExactCache(tags=text)


def test_tags_in_a_list_are_as_good_as_a_tuple() -> None:
    tags: Any = ["mail", "prices"]
    assert ExactCache(tags=tags).tags == ("mail", "prices")


@pytest.mark.parametrize("tag", [1, "", None])
def test_a_tag_that_is_no_word_is_refused(tag: Any) -> None:
    with pytest.raises(TypeError, match="Give words"):
        ExactCache(tags=("mail", tag))


@pytest.mark.parametrize("name", ["ttl_s", "stale_s", "failures_ttl_s"])
@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1.0, "60"])
def test_times_that_are_no_seconds_are_refused_by_name(name: str, seconds: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=name):
        ExactCache(**{name: seconds})


def test_to_refresh_and_to_only_read_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="read_only keeps none"):
        ExactCache(refresh=True, read_only=True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_wrong_rate": 0}, "max_wrong_rate is 0, but must be above 0 and below 1"),
        ({"max_wrong_rate": 1}, "max_wrong_rate is 1"),
        ({"confidence": 0.5}, r"confidence is 0.5, but must be above 0.5 and below 1"),
        ({"confidence": 1}, "confidence is 1"),
        ({"same": str.__eq__, "judge": "fast"}, "Give one of them"),
        ({"ttl_s": 0}, "ttl_s is 0"),
    ],
    ids=str,
)
def test_a_promise_that_cannot_be_kept_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SemanticCache(**options)


def test_a_similar_question_cache_has_all_terms_of_the_exact_one() -> None:
    terms = SemanticCache(ttl_s=5, tags=("mail",), any_temperature=True)
    assert terms.allows([0.7])
    assert {each.name for each in fields(ExactCache)} < {each.name for each in fields(terms)}
