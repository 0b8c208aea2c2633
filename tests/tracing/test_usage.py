"""Usage: the tokens of a response in one form, whatever the provider's dialect."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow import Usage
from tierflow.routing.vendor import litellm
from tierflow.tracing import usage_of


def reported(prompt: int = 100, completion: int = 20, **more: Any) -> Any:
    """A usage object as litellm hands it on."""
    return litellm().Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        **more,
    )


DIALECTS: list[tuple[dict[str, Any], Usage]] = [
    ({}, Usage(100, 20)),
    ({"prompt_tokens_details": {"cached_tokens": 40}}, Usage(100, 20, cache_read_tokens=40)),
    ({"prompt_tokens_details": None}, Usage(100, 20)),
    (
        {"cache_read_input_tokens": 40, "cache_creation_input_tokens": 30},
        Usage(100, 20, cache_read_tokens=40, cache_write_tokens=30),
    ),
    (
        {"prompt_tokens_details": {"cached_tokens": 40, "cache_creation_tokens": 30}},
        Usage(100, 20, cache_read_tokens=40, cache_write_tokens=30),
    ),
    (
        {"prompt_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 30}},
        Usage(100, 20, cache_read_tokens=40, cache_write_tokens=30),
    ),
    (
        {
            "prompt_tokens_details": {
                "cache_creation_tokens": 30,
                "cache_creation_token_details": {
                    "ephemeral_5m_input_tokens": 10,
                    "ephemeral_1h_input_tokens": 20,
                },
            }
        },
        Usage(100, 20, cache_write_tokens=30, cache_write_1h_tokens=20),
    ),
    (
        {"completion_tokens_details": {"reasoning_tokens": 15}},
        Usage(100, 20, reasoning_tokens=15),
    ),
    ({"completion_tokens_details": {"reasoning_tokens": None}}, Usage(100, 20)),
]


@pytest.mark.parametrize(("fields", "expected"), DIALECTS)
def test_every_dialect_becomes_the_same_usage(fields: dict[str, Any], expected: Usage) -> None:
    assert usage_of(reported(**fields), sent=1, received=1) == expected


@pytest.mark.parametrize("missing", [None, "zeros", SimpleNamespace()])
def test_a_report_that_is_missing_is_estimated_at_four_characters_a_token(missing: object) -> None:
    report = reported(0, 0) if missing == "zeros" else missing

    assert usage_of(report, sent=41, received=8) == Usage(11, 2, estimated=True)


def test_a_reply_without_text_is_no_missing_report() -> None:
    assert usage_of(reported(100, 0), sent=4, received=4) == Usage(100, 0)


tokens = st.integers(0, 10**9)
usages = st.builds(Usage, tokens, tokens, tokens, tokens, tokens, st.booleans())


@given(usages, usages, usages)
def test_adding_usages_is_like_adding_numbers(one: Usage, two: Usage, three: Usage) -> None:
    assert one + two == two + one
    assert (one + two) + three == one + (two + three)
    assert one + Usage() == one


@given(usages, usages)
def test_a_sum_with_an_estimate_is_an_estimate(one: Usage, two: Usage) -> None:
    assert (one + two).estimated == (one.estimated or two.estimated)
