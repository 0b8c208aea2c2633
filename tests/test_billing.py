"""Billing: the fake provider charges for prompts as the real ones say they do."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import Billing, Charge
from tests.fakes.billing import tokens_of
from tests.fakes.terms import TERMS

CLAUDE, OLD_CLAUDE, GPT, OLD_GPT, GEMINI = (
    "claude-haiku-5-5",
    "claude-haiku-4-5",
    "gpt-6-luna",
    "gpt-5.4-mini",
    "gemini-3.8-flash",
)
PREFIX = "Sort the message of the customer to the desk that should answer it. " * 400
TOKENS = len(tokens_of(f"system: {PREFIX}"))


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def a_body(ask: str = "Where?", *, prefix: str = PREFIX, **mark: Any) -> dict[str, Any]:
    """One request in each API's form at once, as far as billing reads it."""
    system = {"role": "system", "content": [{"type": "text", "text": prefix, **mark}]}
    return {"messages": [system, {"role": "user", "content": ask}]}


FIVE: dict[str, Any] = {"cache_control": {"type": "ephemeral"}}
HOUR: dict[str, Any] = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
POINT: dict[str, Any] = {"prompt_cache_breakpoint": {"mode": "explicit"}}
EXPLICIT: dict[str, Any] = {"prompt_cache_options": {"mode": "explicit"}}


def billed(billing: Billing, model: str, body: dict[str, Any]) -> Charge:
    """A call that brought its first token."""
    charge = billing.charge(model, body)
    assert charge
    billing.first_token(charge)
    return charge


def test_without_a_mark_anthropic_keeps_nothing() -> None:
    billing = Billing(TERMS, Clock())

    charges = [billed(billing, CLAUDE, a_body(str(number))) for number in range(3)]

    assert {(each.read, each.write) for each in charges} == {(0, 0)}


def test_a_mark_is_written_once_and_read_after_that() -> None:
    billing = Billing(TERMS, Clock())

    first, *others = [billed(billing, CLAUDE, a_body(str(n), **FIVE)) for n in range(3)]

    assert (first.write, first.read) == (TOKENS, 0)
    assert {(each.write, each.read) for each in others} == {(0, TOKENS)}


def test_a_prefix_that_is_being_written_cannot_be_read_yet() -> None:
    billing = Billing(TERMS, Clock())

    parallel = [billing.charge(CLAUDE, a_body(str(n), **FIVE)) for n in range(32)]

    assert {each.write for each in parallel if each} == {TOKENS}


def test_five_minutes_are_renewed_by_reads_and_end_without() -> None:
    clock = Clock()
    billing = Billing(TERMS, clock)
    billed(billing, CLAUDE, a_body(**FIVE))
    for _ in range(3):
        clock.now += 299
        assert billed(billing, CLAUDE, a_body(**FIVE)).read == TOKENS
    clock.now += 301

    assert billed(billing, CLAUDE, a_body(**FIVE)).write == TOKENS


def test_an_hour_costs_another_price_and_lasts_longer() -> None:
    clock = Clock()
    billing = Billing(TERMS, clock)

    first = billed(billing, CLAUDE, a_body(**HOUR))
    clock.now += 3599

    assert (first.write, first.write_1h) == (0, TOKENS)
    assert billed(billing, CLAUDE, a_body(**HOUR)).read == TOKENS


@pytest.mark.parametrize("model", [CLAUDE, GPT])
def test_what_is_too_short_is_silently_not_kept(model: str) -> None:
    billing = Billing(TERMS, Clock())
    body = a_body(prefix="Sort it.", **FIVE, **POINT) | EXPLICIT

    assert {billed(billing, model, body).write, billed(billing, model, body).read} == {0}


def test_models_differ_in_what_is_too_short() -> None:
    billing = Billing(TERMS, Clock())
    body = a_body(prefix=PREFIX[: len(PREFIX) // 10], **FIVE)

    assert billed(billing, CLAUDE, body).write > 512
    assert billed(billing, OLD_CLAUDE, body).write == 0


def test_another_first_word_is_another_prefix() -> None:
    billing = Billing(TERMS, Clock())
    billed(billing, CLAUDE, a_body(**FIVE))

    assert billed(billing, CLAUDE, a_body(prefix=f"Do {PREFIX}", **FIVE)).read == 0


def test_untold_openai_writes_each_whole_prompt_and_reads_nothing_of_another() -> None:
    billing = Billing(TERMS, Clock())

    charges = [billed(billing, GPT, a_body(f"Ask {number}.")) for number in range(3)]

    assert {each.read for each in charges} == {0}
    assert all(each.write > TOKENS and each.fresh == 0 for each in charges)


def test_with_a_breakpoint_openai_reads_up_to_it() -> None:
    billing = Billing(TERMS, Clock())

    first, second = (billed(billing, GPT, a_body(str(n), **POINT) | EXPLICIT) for n in range(2))

    assert (first.write, first.read) == (TOKENS, 0)
    assert (second.write, second.read) == (0, TOKENS)


def test_told_explicitly_without_a_breakpoint_openai_writes_nothing() -> None:
    billing = Billing(TERMS, Clock())

    assert billed(billing, GPT, a_body() | EXPLICIT).write == 0


@pytest.mark.parametrize("model", [OLD_GPT, GEMINI])
def test_what_is_kept_unasked_is_read_in_whole_blocks_and_written_for_nothing(model: str) -> None:
    billing = Billing(TERMS, Clock())

    first, second = (billed(billing, model, a_body(f"Ask {n}.")) for n in range(2))

    assert (first.read, first.write, second.write) == (0, 0, 0)
    assert second.read == TOKENS // 128 * 128


def test_the_bill_is_the_sum_at_the_models_prices() -> None:
    billing = Billing(TERMS, Clock())
    for number in range(3):
        billed(billing, CLAUDE, a_body(str(number), **FIVE))

    tally = billing.tally(CLAUDE)

    assert (tally.calls, tally.write, tally.read) == (3, TOKENS, 2 * TOKENS)
    expected = (tally.fresh * 0.1 + TOKENS * 0.125 + 2 * TOKENS * 0.01) / 1e6
    assert billing.usd(CLAUDE) == pytest.approx(expected)
    assert billing.charge("unheard-of", a_body()) is None


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=20), st.sampled_from(sorted(TERMS)))
def test_every_token_is_billed_once(prefixes: list[str], model: str) -> None:
    billing = Billing(TERMS, Clock())

    for first in prefixes:
        body = a_body(prefix=first + PREFIX, **FIVE, **POINT)
        charge = billed(billing, model, body)
        ask = len(tokens_of("user: Where?"))
        assert charge.total == len(tokens_of(f"system: {first}{PREFIX}")) + ask
        assert min(charge.fresh, charge.read, charge.write, charge.write_1h) >= 0
