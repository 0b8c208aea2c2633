"""Client: what is sent to a provider, and what is made of its reply. Over real sockets."""

import asyncio
import json
import math
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from pydantic import BaseModel

from tests.conftest import Catalogue
from tests.fakes import Fail, FakeProvider, Raw, Say
from tests.tasks.ways import Way, plain, run_async
from tests.tasks.ways import both_ways as both_kinds_of_step
from tierflow import Chunk, Sampling
from tierflow.errors import ProviderDownError
from tierflow.request import Reply
from tierflow.routing import Ask, LiteLLMClient, NamedTier
from tierflow.settings import Deployment, Tier

from .world import a_request

Asking = Callable[[LiteLLMClient, Ask], Reply]


def ask_sync(client: LiteLLMClient, ask: Ask) -> Reply:
    return client.ask(ask)


def ask_async(client: LiteLLMClient, ask: Ask) -> Reply:
    return run_async(lambda: client.ask_async(ask))


both_ways = pytest.mark.parametrize("asking", [ask_sync, ask_async], ids=["sync", "async"])
whole_and_streamed = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])

CLIENT = LiteLLMClient({})


def an_ask(
    provider: FakeProvider,
    *,
    on_chunk: Callable[[Chunk], None] | None = None,
    sampling: Sampling | None = None,
    request: dict[str, Any] | None = None,
    **deployment: Any,
) -> Ask:
    named = Deployment(model="openai/a", api_base=provider.base_url, **deployment)
    tier = Tier(deployments=(named,), sampling=sampling or Sampling(temperature=0))
    return Ask(named, NamedTier("fast", tier), a_request(**(request or {})), "answer", 3, on_chunk)


def ignore(_: Chunk) -> None:
    """Stream, and drop what comes."""


@both_ways
def test_a_plain_request_sends_nothing_that_nobody_asked_for(
    asking: Asking, provider: FakeProvider
) -> None:
    provider.script("a", Say("here"))

    asking(CLIENT, an_ask(provider))

    assert provider.calls[0].body == {
        "model": "a",
        "messages": [{"role": "user", "content": "Where is it?"}],
        "temperature": 0,
    }


@both_ways
def test_the_steps_sampling_goes_over_the_tiers(asking: Asking, provider: FakeProvider) -> None:
    provider.script("a", Say("here"))
    tiers = Sampling(temperature=0.3, max_tokens=9, seed=1)
    steps = Sampling(temperature=1, top_p=0.5, stop=("END",))

    asking(CLIENT, an_ask(provider, sampling=tiers, request={"sampling": steps}))

    body = provider.calls[0].body
    assert (body["temperature"], body["max_tokens"], body["seed"]) == (1, 9, 1)
    assert (body["top_p"], body["stop"]) == (0.5, ["END"])


@both_ways
def test_a_deployments_params_are_passed_as_they_are(
    asking: Asking, provider: FakeProvider
) -> None:
    provider.script("a", Say("here"))
    params = {"extra_body": {"min_p": 0.1}, "temperature": 0.9}

    asking(CLIENT, an_ask(provider, params=params))

    assert provider.calls[0].body["min_p"] == 0.1
    assert provider.calls[0].body["temperature"] == 0.9


@both_ways
def test_the_key_of_its_own_variable_is_sent(asking: Asking, provider: FakeProvider) -> None:
    provider.script("a", Say("here"))

    asking(LiteLLMClient({"GATE_KEY": "sesame"}), an_ask(provider, api_key_env="GATE_KEY"))

    assert provider.calls[0].headers["authorization"] == "Bearer sesame"


@both_ways
def test_a_self_hosted_engine_never_sees_the_providers_key(
    asking: Asking, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-precious")
    provider.script("a", Say("here"))

    asking(LiteLLMClient({"OPENAI_API_KEY": "sk-precious"}), an_ask(provider))

    assert "sk-precious" not in str(provider.calls[0].headers)


@both_ways
def test_the_item_stays_here(asking: Asking, provider: FakeProvider) -> None:
    provider.script("a", Say("here"))

    asking(CLIENT, an_ask(provider, request={"item": "ticket-7"}))

    assert "ticket-7" not in str(provider.calls[0])


@both_ways
@whole_and_streamed
def test_a_reply_says_who_spoke_and_what_it_took(
    asking: Asking, streamed: bool, provider: FakeProvider
) -> None:
    provider.script(
        "a",
        Say(
            "It is here.",
            input_tokens=1000,
            output_tokens=100,
            cached_tokens=400,
            reasoning_tokens=30,
            response_model="a-2026-01-01",
            finish_reason="length",
        ),
    )
    prices: dict[str, Any] = {
        "input_usd_per_mtok": 2.0,
        "output_usd_per_mtok": 10.0,
        "cache_read_usd_per_mtok": 0.5,
    }

    reply = asking(CLIENT, an_ask(provider, on_chunk=ignore if streamed else None, **prices))

    # Of a stream litellm only tells the model that was asked for.
    model = "a" if streamed else "a-2026-01-01"
    assert (reply.text, reply.tier, reply.model) == ("It is here.", "fast", model)
    assert reply.deployment == f"openai/a@{provider.base_url}"
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (1000, 100)
    assert (reply.usage.cache_read_tokens, reply.usage.reasoning_tokens) == (400, 30)
    assert reply.usage.estimated is False
    assert reply.cost_usd == pytest.approx((600 * 2 + 400 * 0.5 + 100 * 10) / 1e6)
    assert reply.finish_reason == "length"
    assert reply.response_id
    assert reply.response_id.startswith("chatcmpl-fake-")


@both_ways
@whole_and_streamed
def test_a_model_without_a_price_costs_none_not_zero(
    asking: Asking, streamed: bool, provider: FakeProvider
) -> None:
    provider.script("a", Say("here"))

    reply = asking(CLIENT, an_ask(provider, on_chunk=ignore if streamed else None))

    assert reply.cost_usd is None


@both_ways
@whole_and_streamed
def test_token_probabilities_become_one_confidence(
    asking: Asking, streamed: bool, provider: FakeProvider
) -> None:
    provider.script("a", Say("It is here.", logprobs=[-0.1, -0.2, -0.6]))
    on_chunk = ignore if streamed else None

    reply = asking(CLIENT, an_ask(provider, on_chunk=on_chunk, request={"logprobs": True}))

    assert reply.confidence == pytest.approx(math.exp(-0.3))
    assert asking(CLIENT, an_ask(provider, on_chunk=on_chunk)).confidence is None


def completion(text: str) -> Raw:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    envelope = {"id": "x", "object": "chat.completion", "created": 1, "model": "a"}
    return Raw(200, json.dumps({**envelope, "choices": [choice]}))


def stream(*texts: str) -> Raw:
    deltas: list[tuple[dict[str, str], str | None]] = [
        *(({"role": "assistant", "content": text}, None) for text in texts),
        ({}, "stop"),
    ]
    events = [
        {
            "id": "x",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "a",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
        }
        for delta, finish_reason in deltas
    ]
    lines = [*(json.dumps(event) for event in events), "[DONE]"]
    return Raw(200, "".join(f"data: {line}\n\n" for line in lines), "text/event-stream")


@both_ways
@whole_and_streamed
def test_a_reply_without_usage_is_estimated_and_says_so(
    asking: Asking, streamed: bool, provider: FakeProvider
) -> None:
    provider.script("a", stream("It is ", "here.") if streamed else completion("It is here."))

    reply = asking(CLIENT, an_ask(provider, on_chunk=ignore if streamed else None))

    assert reply.text == "It is here."
    assert reply.usage.estimated is True
    assert reply.usage.output_tokens == math.ceil(len("It is here.") / 4)
    assert reply.usage.input_tokens > 0


@both_ways
@whole_and_streamed
def test_a_model_that_says_nothing_has_replied(
    asking: Asking, streamed: bool, provider: FakeProvider
) -> None:
    provider.script("a", Say("", input_tokens=5, output_tokens=0))

    reply = asking(CLIENT, an_ask(provider, on_chunk=ignore if streamed else None))

    assert (reply.text, reply.finish_reason) == ("", "stop")
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (5, 0)


@both_ways
def test_chunks_arrive_in_order_and_name_tier_model_and_attempt(
    asking: Asking, provider: FakeProvider
) -> None:
    provider.script("a", Say("It is here."))
    chunks: list[Chunk] = []

    reply = asking(CLIENT, an_ask(provider, on_chunk=chunks.append))

    assert [chunk.text for chunk in chunks] == ["It ", "is ", "here."]
    assert {(each.tier, each.model, each.attempt) for each in chunks} == {("fast", "openai/a", 3)}
    assert reply.text == "It is here."
    body = provider.calls[0].body
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})


@both_ways
def test_a_stream_is_timed_by_the_clock(asking: Asking, provider: FakeProvider) -> None:
    provider.script("a", Say("one two three four"))
    # Looked at when the call starts, at each of four words, and at the end.
    readings = iter([10.0, 10.5, 10.6, 10.8, 11.8, 12.0])
    client = LiteLLMClient({}, clock=lambda: next(readings))

    reply = asking(client, an_ask(provider, on_chunk=ignore))

    assert reply.ttft_ms == pytest.approx(500)
    assert reply.itl_ms == pytest.approx((100 + 200 + 1000) / 3)
    assert reply.itl_p95_ms == pytest.approx(1000)
    assert reply.latency_ms == pytest.approx(2000)


@both_ways
def test_a_single_chunk_has_no_gaps(asking: Asking, provider: FakeProvider) -> None:
    provider.script("a", Say("one"))
    ticks = count()
    client = LiteLLMClient({}, clock=lambda: float(next(ticks)))

    reply = asking(client, an_ask(provider, on_chunk=ignore))

    assert reply.ttft_ms == 1000
    assert (reply.itl_ms, reply.itl_p95_ms) == (None, None)


@both_ways
def test_a_reply_in_one_piece_has_no_stream_timings(asking: Asking, provider: FakeProvider) -> None:
    provider.script("a", Say("one two"))

    reply = asking(CLIENT, an_ask(provider))

    assert (reply.ttft_ms, reply.itl_ms, reply.itl_p95_ms) == (None, None, None)


class ReaderGoneError(Exception):
    """What a caller's own code raises."""


@both_kinds_of_step
def test_what_on_chunk_raises_comes_out_as_itself_and_asks_nobody_else(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue(fast=["a", "b"])
    provider.script("a", Say("one two three"))
    provider.script("b", Say("never"))

    def leave(chunk: Chunk) -> None:
        raise ReaderGoneError(chunk.text)

    with pytest.raises(ReaderGoneError, match="one"):
        way.step(plain, on_chunk=leave)("Where is it?")

    assert [call.model for call in provider.calls] == ["a"]
    # Nor is the deployment blamed: the next step asks it first.
    assert way.step(plain)("Where is it?").failures == ()
    assert [call.model for call in provider.calls] == ["a", "a"]


def leave(_: Chunk) -> None:
    """Stop listening at the first word."""
    raise ReaderGoneError


# The last word would come in an hour.
LONG = Say("word " * 72_000, chunk_delay_s=0.05)


def test_a_stream_whose_reader_left_is_hung_up(provider: FakeProvider) -> None:
    provider.script("a", LONG)

    with pytest.raises(ReaderGoneError) as caught:
        CLIENT.ask(an_ask(provider, on_chunk=leave))

    # The error still holds on to the stream: it was not merely collected.
    assert caught.tb
    provider.wait_until_idle()


def test_a_stream_whose_reader_left_is_hung_up_on_an_event_loop_too(
    provider: FakeProvider,
) -> None:
    provider.script("a", LONG)

    async def ask_and_leave() -> None:
        with pytest.raises(ReaderGoneError) as caught:
            await CLIENT.ask_async(an_ask(provider, on_chunk=leave))
        assert caught.tb
        await asyncio.to_thread(provider.wait_until_idle)

    run_async(ask_and_leave)


class City(BaseModel):
    city: str


@both_kinds_of_step
def test_the_attempt_rises_with_every_new_start(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue(fast=["a", "b"])
    provider.script("a", Fail(500))
    provider.script("b", [Say("In Bonn."), Say({"city": "Bonn"})])
    chunks: list[Chunk] = []

    answer = way.step(plain, returns=City, on_chunk=chunks.append)("Where is it?")

    texts: dict[int, str] = {}
    for chunk in chunks:
        texts[chunk.attempt] = texts.get(chunk.attempt, "") + chunk.text
    assert answer.value == City(city="Bonn")
    # The first failed; and mending asks the failed one again only after the well one.
    assert texts == {2: "In Bonn.", 3: answer.text}
    assert answer.ttft_ms is not None
    assert answer.replies[-1].model == "b"


@both_ways
def test_an_attempt_says_when_it_was_made_whether_it_replied_or_failed(
    asking: Asking, provider: FakeProvider
) -> None:
    client = LiteLLMClient({}, clock=count(0.0, 0.5).__next__, now=lambda: 1000.0)
    provider.script("a", Say("here"))
    reply = asking(client, an_ask(provider))
    assert reply.began_at == 1000.0 - reply.latency_ms / 1000
    provider.script("a", Fail(503))
    with pytest.raises(ProviderDownError) as caught:
        asking(client, an_ask(provider))
    assert (caught.value.began_at, caught.value.latency_ms) == (1000.0, 500.0)
