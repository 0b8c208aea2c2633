"""Fingerprint: equal prefixes have equal keys, and their lengths are never overstated."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.billing import tokens_of
from tierflow.caching.prefix import Boundary, boundaries_of, vendor_of
from tierflow.request import Request
from tierflow.settings import Deployment

from .prompts import SENTENCE, a_request, text

CLAUDE = Deployment(model="anthropic/claude-haiku-5-5")


def ends(request: Request, deployment: Deployment = CLAUDE) -> tuple[Boundary, ...]:
    return boundaries_of(request, deployment, vendor_of(deployment, {}))


def test_what_is_asked_does_not_change_the_prefix() -> None:
    assert ends(a_request(500, "One?")) == ends(a_request(500, "Another?"))


FIRST, *REST = a_request(500).messages


@pytest.mark.parametrize(
    "changed",
    [
        {"schema": {"type": "object"}},
        {"messages": ({"role": "system", "content": "Other."}, *REST)},
        {"messages": ({**FIRST, "role": "user"}, *REST)},
    ],
    ids=["schema", "text", "role"],
)
def test_what_comes_before_the_ask_does(changed: dict[str, Any]) -> None:
    request = a_request(500)

    assert ends(replace(request, **changed))[-1].key != ends(request)[-1].key


def test_each_deployment_has_caches_of_its_own() -> None:
    other = Deployment(model="anthropic/claude-opus-5-5")
    tools = Deployment(model=CLAUDE.model, params={"tools": [{"name": "look"}]})

    keys = {ends(a_request(500), each)[-1].key for each in (CLAUDE, other, tools)}

    assert len(keys) == 3


def test_a_prefix_may_end_behind_the_system_message_and_behind_the_examples() -> None:
    found = ends(a_request(500, examples=2))

    assert [end.messages for end in found] == [1, 5]
    assert found[0].key == ends(a_request(500))[0].key
    assert found[0].low < found[1].low


def test_an_empty_message_is_never_the_end() -> None:
    request = Request("s", ({"role": "system", "content": ""}, {"role": "user", "content": "a"}), 1)

    assert ends(request) == ()


@pytest.mark.parametrize("tokens", [100, 1000, 4000])
def test_prose_has_between_the_least_and_the_most_tokens(tokens: int) -> None:
    (end,) = ends(a_request(tokens))

    assert end.low <= len(tokens_of(text(tokens))) <= end.high


@given(st.text(max_size=400))
def test_the_least_is_never_above_the_most(content: str) -> None:
    request = Request("s", ({"role": "system", "content": content},), 1)

    for end in ends(request):
        assert end.low <= end.tokens <= end.high
        assert end.high <= max(1, len(content.encode()))


def test_blanks_do_not_make_a_prefix_long() -> None:
    padded = Request("s", ({"role": "system", "content": SENTENCE + " " * 10_000},), 1)

    assert ends(padded)[0].high < 100


def test_content_in_parts_counts_as_its_texts() -> None:
    parts = [{"type": "text", "text": text(300)}, {"type": "text", "text": text(300)}]
    request = Request("s", ({"role": "system", "content": parts},), 1)

    (end,) = ends(request)

    assert end.low <= 600 <= end.high
