"""The values that travel through a step: prompts, sampling, usage, answers."""

import json
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tierflow import Answer, Prompt, Sampling, Usage, Verdict
from tierflow.errors import PromptError
from tierflow.request import Request, render

counts = st.integers(0, 10**9)
usages = st.builds(Usage, counts, counts, counts, counts, counts, st.booleans())
samplings = st.builds(
    Sampling,
    temperature=st.none() | st.floats(0, 2),
    top_p=st.none() | st.floats(0.01, 1),
    max_tokens=st.none() | st.integers(1, 10_000),
    seed=st.none() | st.integers(),
    stop=st.none() | st.lists(st.text(), max_size=3).map(tuple),
)


# --- prompts


@given(prefix=st.text(), ask=st.text(), examples=st.lists(st.tuples(st.text(), st.integers())))
def test_what_varies_comes_last_and_all_else_is_prefix(
    prefix: str, ask: str, examples: list[tuple[str, int]]
) -> None:
    rendered = Prompt(prefix=prefix, ask=ask, examples=examples).render(json.dumps)
    *stable, last = rendered.messages
    assert last == {"role": "user", "content": ask}
    assert rendered.prefix_messages == len(stable) == bool(prefix) + 2 * len(examples)


@given(ask=st.text(), other=st.text())
def test_the_prefix_does_not_depend_on_the_ask(ask: str, other: str) -> None:
    one, two = (
        Prompt(prefix="Classify.", examples=[("a", 1)], ask=text).render(json.dumps)
        for text in (ask, other)
    )
    assert one.messages[: one.prefix_messages] == two.messages[: two.prefix_messages]


def test_item_and_tenant_travel_with_the_prompt() -> None:
    rendered = Prompt(ask="?", item="q-1", tenant="acme").render(str)
    assert (rendered.item, rendered.tenant) == ("q-1", "acme")


def test_all_messages_but_the_last_are_taken_for_the_prefix() -> None:
    messages = [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]
    rendered = render(messages, str)
    assert rendered.messages == tuple(messages)
    assert rendered.prefix_messages == 1
    assert render(tuple(messages), str) == rendered


@pytest.mark.parametrize(
    "wrong",
    [None, 7, b"bytes", [], (), {}, ["text"], [{"role": "user"}], [{"content": "x"}], object],
)
def test_what_is_no_prompt_is_refused_with_its_type_and_the_remedy(wrong: Any) -> None:
    with pytest.raises(
        PromptError, match=r"returned \w+: .* Return a Prompt\(ask=\.\.\.\)"
    ) as said:
        render(wrong, str)
    assert type(wrong).__name__ in str(said.value)


def test_a_prompt_takes_its_parts_by_name_only() -> None:
    with pytest.raises(TypeError):
        Prompt("ask")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # the fault under test


# --- sampling


@given(one=samplings, base=samplings)
def test_what_is_set_goes_over_the_base_and_the_rest_stays(one: Sampling, base: Sampling) -> None:
    merged = one.over(base)
    for name in Sampling.model_fields:
        mine = getattr(one, name)
        assert getattr(merged, name) == (getattr(base, name) if mine is None else mine)


@given(samplings)
def test_only_what_is_set_is_sent(sampling: Sampling) -> None:
    assert None not in sampling.given().values()
    assert Sampling(**sampling.given()) == sampling


@pytest.mark.parametrize(
    "wrong",
    [{"temperature": -0.1}, {"temperature": 2.1}, {"top_p": 0}, {"max_tokens": 0}, {"heat": 1}],
)
def test_sampling_that_no_provider_takes_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Sampling(**wrong)


# --- usage and answers


@given(usages, usages, usages)
def test_usage_adds_up_in_any_order(one: Usage, two: Usage, three: Usage) -> None:
    assert one + two == two + one
    assert (one + two) + three == one + (two + three)
    assert one + Usage() == one


@given(usages, usages)
def test_every_count_is_summed_and_an_estimate_stays_one(one: Usage, two: Usage) -> None:
    total = one + two
    for field in fields(Usage):
        mine, theirs = getattr(one, field.name), getattr(two, field.name)
        expected = mine or theirs if field.name == "estimated" else mine + theirs
        assert getattr(total, field.name) == expected


@pytest.mark.parametrize(
    ("accepted", "escalations"), [((), 0), ((True,), 0), ((False,), 1), ((False, False), 2)]
)
def test_an_answer_counts_the_tiers_that_were_passed_by(
    accepted: tuple[bool, ...], escalations: int
) -> None:
    verdicts = tuple(Verdict("judge", 0.5, accepted=each, reason="") for each in accepted)
    answer = Answer("v", "v", "s", "t", "d", "m", "miss", Usage(), 0.0, 1.0, verdicts=verdicts)
    assert answer.escalations == escalations


@pytest.mark.parametrize(
    "value", [Request("step", ()), Usage(), Prompt(ask="?")], ids=lambda value: type(value).__name__
)
def test_the_values_of_a_step_cannot_be_changed(value: Any) -> None:
    name = fields(value)[0].name
    with pytest.raises(FrozenInstanceError):
        setattr(value, name, None)
