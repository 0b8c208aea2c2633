"""Steps from end to end: prompt, provider, cache, ledger. Sync and async do the same."""

from dataclasses import dataclass
from typing import Any, Literal

import pytest
from pydantic import BaseModel, field_validator

from tests.conftest import Catalogue
from tests.fakes import FakeProvider, Say
from tests.tasks.conftest import Rows
from tests.tasks.ways import Way, both_ways, plain
from tierflow import Cascade, Chunk, ExactCache, Prompt, Sampling, Usage, agreement, confidence
from tierflow.tasks import close_hands

pytestmark = both_ways

ASKED, SAID = 1000, 100
COST_USD = (1.0 * ASKED + 10.0 * SAID) / 1e6


class City(BaseModel):
    name: str
    people: int


@dataclass(frozen=True)
class Point:
    x: int
    y: int


class Sure(BaseModel):
    intent: str
    confidence: float


def say(text: object) -> Say:
    return Say(text, input_tokens=ASKED, output_tokens=SAID)


def messages_of(provider: FakeProvider) -> Any:
    return provider.calls[-1].body["messages"]


# --- prompts and results


def test_a_string_is_one_user_message(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    provider.script("fast", Say("Hello."))
    answer = way.step(plain)("Say hello.")
    assert answer.value == answer.text == "Hello."
    assert messages_of(provider) == [{"role": "user", "content": "Say hello."}]


def test_messages_are_sent_as_they_are(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    provider.script("fast", Say("Hello."))
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Say hello."}]},
    ]

    def chat() -> list[dict[str, Any]]:
        return messages

    assert way.step(chat).value() == "Hello."
    assert messages_of(provider) == messages


def test_examples_are_written_in_the_form_the_reply_must_have(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    provider.script("fast", Say({"value": "refund"}))

    def classify(ticket: str) -> Prompt:
        examples = [("Money back!", "refund"), ("Where is it?", "delivery")]
        return Prompt(prefix="Classify.", examples=examples, ask=ticket)

    step = way.step(classify, returns=Literal["refund", "delivery"])
    assert step.value("I want my money.") == "refund"
    assert messages_of(provider) == [
        {"role": "system", "content": "Classify."},
        {"role": "user", "content": "Money back!"},
        {"role": "assistant", "content": '{"value":"refund"}'},
        {"role": "user", "content": "Where is it?"},
        {"role": "assistant", "content": '{"value":"delivery"}'},
        {"role": "user", "content": "I want my money."},
    ]


@pytest.mark.parametrize(
    ("returns", "reply", "value"),
    [
        (City, {"name": "Bonn", "people": 330_000}, City(name="Bonn", people=330_000)),
        (Point, {"x": 1, "y": 2}, Point(1, 2)),
        (Literal["a", "b"], {"value": "b"}, "b"),
        (list[int], {"value": [1, 2]}, [1, 2]),
        (City | None, {"value": None}, None),
        (City | None, {"value": {"name": "Bonn", "people": 1}}, City(name="Bonn", people=1)),
        (dict[str, int], {"value": {"a": 1}}, {"a": 1}),
        (bool, {"value": False}, False),
        (str, "  as it is {} \n", "  as it is {} \n"),
    ],
)
def test_a_step_returns_its_type_both_fresh_and_from_the_cache(
    *, way: Way, catalogue: Catalogue, provider: FakeProvider, returns: Any, reply: Any, value: Any
) -> None:
    catalogue()
    provider.script("fast", Say(reply))
    step = way.step(plain, returns=returns)
    assert step.value("What?") == value
    stored = step("What?")
    assert (stored.value, stored.cache) == (value, "exact")
    assert type(stored.value) is type(value)
    assert len(provider.calls) == 1
    sent = provider.calls[0].body.get("response_format")
    assert (sent is None) == (returns is str)
    assert sent is None or sent["json_schema"]["schema"]["type"] == "object"


def test_json_in_a_fence_or_a_sentence_is_found(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    provider.script("fast", Say('Here it is:\n```json\n{"x": 1, "y": 2}\n```\nGood luck!'))
    assert way.step(plain, returns=Point).value("Where?") == Point(1, 2)
    assert len(provider.calls) == 1


# --- the exact cache


def test_an_exact_hit_costs_nothing_and_asks_nobody(
    way: Way, catalogue: Catalogue, provider: FakeProvider, rows: Rows
) -> None:
    catalogue()
    provider.script("fast", say("42"))
    step = way.step(plain)
    first, second = step("6 times 7?"), step("6 times 7?")

    assert (first.cache, first.cost_usd, first.saved_usd) == ("miss", COST_USD, None)
    assert first.usage == Usage(ASKED, SAID)
    assert (second.value, second.cache) == ("42", "exact")
    assert (second.cost_usd, second.usage, second.replies) == (0.0, Usage(), ())
    assert second.saved_usd == COST_USD
    assert (second.tier, second.deployment, second.model) == (
        first.tier,
        first.deployment,
        first.model,
    )
    assert len(provider.calls) == 1
    assert [(row["cache"], row["cost_usd"], row["asks"]) for row in rows()] == [
        ("miss", COST_USD, 1),
        ("exact", 0.0, 0),
    ]


def test_another_ask_tenant_schema_or_step_is_another_question(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    provider.script("fast", Say({"value": "x", "other": "y", "extra": 1}))

    def ask(text: str, tenant: str) -> Prompt:
        return Prompt(ask=text, tenant=tenant)

    class Other(BaseModel):
        other: str

    asks = [
        (way.step(ask), "a", ""),
        (way.step(ask), "b", ""),
        (way.step(ask), "a", "acme"),
        (way.step(ask, returns=Literal["x"]), "a", ""),
        (way.step(ask, returns=Other), "a", ""),
        (way.step(ask, name="another step"), "a", ""),
        (way.step(ask, tier="standard"), "a", ""),
        (way.step(ask, sampling=Sampling(max_tokens=7)), "a", ""),
        (way.step(ask, cascade=Cascade("frontier", confidence(0.0), max_loss=None)), "a", ""),
        (way.step(ask, cascade=Cascade("frontier", confidence(0.1), max_loss=None)), "a", ""),
    ]
    provider.script("standard", Say("x"))
    provider.script("frontier", Say("x"))
    for step, *arguments in asks:
        assert step(*arguments).cache == "miss"
    for step, *arguments in asks:
        assert step(*arguments).cache == "exact"


def test_a_deployment_more_in_the_tier_makes_another_question(
    way: Way, catalogue: Catalogue, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.script("fast", Say("one"))
    catalogue()
    assert way.step(plain)("Who?").cache == "miss"
    close_hands()
    catalogue(fast=["fast", "spare"])
    # Settings are read once for a directory and an environment.
    monkeypatch.setenv("TIERFLOW_TIERS__STANDARD__TIMEOUT_S", "9")
    assert way.step(plain)("Who?").cache == "miss"


@pytest.mark.parametrize("temperature", [0.7, 1])
def test_sampled_answers_are_not_kept_unless_the_policy_says_so(
    way: Way, catalogue: Catalogue, provider: FakeProvider, temperature: float
) -> None:
    catalogue()
    provider.script("fast", Say("a poem"))
    sampling = Sampling(temperature=temperature)
    strict = way.step(plain, sampling=sampling)
    assert [strict("Write.").cache for _ in range(2)] == ["off", "off"]
    kept = way.step(plain, sampling=sampling, cache=ExactCache(any_temperature=True))
    assert [kept("Write.").cache for _ in range(2)] == ["miss", "exact"]
    assert len(provider.calls) == 3


def test_a_temperature_among_a_deployments_params_counts_too(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    path = catalogue()
    lively = path.read_text().replace(
        'model = "openai/fast",', 'model = "openai/fast", params = { temperature = 1.0 },'
    )
    path.write_text(lively)
    provider.script("fast", Say("a poem"))
    assert [way.step(plain)("Write.").cache for _ in range(2)] == ["off", "off"]
    assert provider.calls[0].body["temperature"] == 1.0


def test_a_sampled_stronger_tier_keeps_the_whole_chain_out_of_the_cache(
    way: Way, catalogue: Catalogue, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue()
    monkeypatch.setenv("TIERFLOW_TIERS__FRONTIER__SAMPLING", '{"temperature": 0.5}')
    provider.script("fast", Say({"intent": "refund", "confidence": 0.9}))
    step = way.step(plain, returns=Sure, cascade=Cascade("frontier", confidence(), max_loss=None))
    assert [step("Money!").cache for _ in range(2)] == ["off", "off"]


def test_the_cache_can_be_turned_off_for_a_step_or_for_all(
    way: Way, catalogue: Catalogue, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue()
    provider.script("fast", Say("again"))
    off = way.step(plain, cache=None)
    assert [off("Who?").cache for _ in range(2)] == ["off", "off"]
    monkeypatch.setenv("TIERFLOW_CACHE__MODE", "off")
    on = way.step(plain)
    assert [on("Who?").cache for _ in range(2)] == ["off", "off"]
    assert len(provider.calls) == 4


def test_a_stored_answer_that_no_longer_fits_the_type_is_asked_for_again(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    # A validator is no part of the schema, so the key stays the same when it changes.
    def a_type(allowed: range) -> type[BaseModel]:
        class Number(BaseModel):
            number: int

            @field_validator("number")
            @classmethod
            def _is_allowed(cls, value: int) -> int:
                if value not in allowed:
                    raise ValueError("not allowed")
                return value

        return Number

    catalogue()
    provider.script("fast", [Say({"number": 3}), Say({"number": 7})])
    before = way.step(plain, returns=a_type(range(9)))
    after = way.step(plain, returns=a_type(range(5, 9)))
    assert before("Which?").value.number == 3
    assert after("Which?").value.number == 7
    assert (after("Which?").value.number, after("Which?").cache) == (7, "exact")
    assert len(provider.calls) == 2


# --- streaming


def test_a_stream_hands_over_the_text_piece_by_piece(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    provider.script("fast", Say("one two three"))
    chunks: list[Chunk] = []
    answer = way.step(plain, on_chunk=chunks.append)("Count.")
    assert [chunk.text for chunk in chunks] == ["one ", "two ", "three"]
    assert {chunk.attempt for chunk in chunks} == {1}
    assert answer.value == "one two three"
    assert answer.ttft_ms is not None


def test_a_streaming_hit_replays_the_text_word_by_word(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    provider.script("fast", Say("one two  three\n"))
    way.step(plain)("Count.")
    chunks: list[Chunk] = []
    answer = way.step(plain, on_chunk=chunks.append)("Count.")
    assert answer.cache == "exact"
    assert chunks == [
        Chunk(word, "fast", "fast", attempt=0) for word in ("one ", "two  ", "three\n")
    ]
    assert len(provider.calls) == 1


# --- what was paid


def test_an_escalated_answer_costs_what_all_its_replies_cost(
    way: Way, catalogue: Catalogue, provider: FakeProvider, rows: Rows
) -> None:
    catalogue()
    provider.script("fast", say({"intent": "refund", "confidence": 0.3}))
    provider.script("frontier", say({"intent": "account", "confidence": 0.9}))
    step = way.step(
        plain, returns=Sure, cascade=Cascade("frontier", confidence(0.8), max_loss=None)
    )
    answer = step("My money!")
    assert (answer.tier, answer.value.intent, answer.escalations) == ("frontier", "account", 1)
    assert answer.cost_usd == pytest.approx(2 * COST_USD)
    assert [reply.tier for reply in answer.replies] == ["fast", "frontier"]
    hit = step("My money!")
    assert hit.saved_usd == pytest.approx(2 * COST_USD)
    assert [row["escalations"] for row in rows()] == [1, 0]


def test_a_judges_questions_are_paid_for_and_counted(
    way: Way, catalogue: Catalogue, provider: FakeProvider, rows: Rows
) -> None:
    catalogue()
    provider.script("fast", say("B"))
    provider.script("standard", say("B"))
    answer = way.step(plain, cascade=Cascade("frontier", agreement("standard"), max_loss=None))(
        "A or B?"
    )
    assert (answer.tier, answer.escalations) == ("fast", 0)
    assert answer.cost_usd == pytest.approx(2 * COST_USD)
    assert rows()[0]["asks"] == 2
    assert not provider.calls_to("frontier")


def test_a_reply_without_a_known_price_leaves_the_cost_unknown(
    way: Way, catalogue: Catalogue, provider: FakeProvider, rows: Rows
) -> None:
    path = catalogue()
    path.write_text(
        path.read_text()
        .replace("input_usd_per_mtok = 1.0, output_usd_per_mtok = 10.0", "")
        .replace(",  }", " }")
    )
    provider.script("fast", Say("priceless"))
    answer = way.step(plain)("How much?")
    assert answer.cost_usd is None
    assert answer.strongest_usd is None
    assert rows()[0]["cost_usd"] is None


def test_what_was_read_from_the_providers_cache_is_counted(
    way: Way, catalogue: Catalogue, provider: FakeProvider, rows: Rows
) -> None:
    catalogue()
    provider.script("fast", Say("yes", input_tokens=100, output_tokens=1, cached_tokens=80))
    assert way.step(plain)("Cached?").usage == Usage(100, 1, cache_read_tokens=80)
    assert rows()[0]["cache_read_tokens"] == 80
