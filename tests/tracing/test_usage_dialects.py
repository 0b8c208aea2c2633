"""Dialects of usage: the same tokens, told by each API in its way, over real sockets and litellm.

What each API counts into what, and the prices, are its maker's, written down by hand.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.fakes import FakeProvider, Say
from tests.routing.world import a_request
from tests.tasks.ways import run_async
from tierflow import Chunk, Usage
from tierflow.request import Reply
from tierflow.routing import Ask, LiteLLMClient, NamedTier
from tierflow.settings import Deployment, Tier

CLIENT = LiteLLMClient({})
SAID = Say("It is here.", 1000, 50, 400, reasoning_tokens=20)
WRITTEN = Say("It is here.", 1000, 50, 400, written_tokens=200)
HOURLY = Say("It is here.", 1000, 50, 400, written_tokens=200, written_1h_tokens=100)
READ = Usage(1000, 50, cache_read_tokens=400)
THOUGHT = Usage(1000, 50, cache_read_tokens=400, reasoning_tokens=20)


@dataclass(frozen=True)
class Told:
    """What a model says, where it is asked, and what must come of it. `usd`: for each MTok."""

    model: str
    said: Say
    usage: Usage
    path: str = ""
    usd: float | None = None
    own: dict[str, Any] = field(default_factory=dict[str, Any])

    def __str__(self) -> str:
        return f"{self.model}-{self.path}-{self.said.input_tokens}-{self.said.written_tokens}"


OWN = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 10.0, "cache_read_usd_per_mtok": 0.1}
OWN_USD = 600 * 1.0 + 400 * 0.1 + 50 * 10.0
WRITES = Usage(1000, 50, cache_read_tokens=400, cache_write_tokens=200)
HOURS = Usage(1000, 50, cache_read_tokens=400, cache_write_tokens=300, cache_write_1h_tokens=100)
LONG = Usage(300_000, 50, cache_read_tokens=100_000)

CASES = [
    # Anthropic's input_tokens are what was neither read nor written; an hour's writes cost 2x.
    Told(
        "anthropic/claude-haiku-5-5",
        HOURLY,
        HOURS,
        usd=300 * 0.1 + 400 * 0.01 + 200 * 0.125 + 100 * 0.2 + 50 * 0.5,
    ),
    # A read at a fortieth, and one at a twentieth.
    Told("anthropic/claude-fable-5-1", WRITTEN, WRITES, usd=4000 + 400 * 0.25 + 2500 + 2500),
    Told("anthropic/claude-opus-5-5", SAID, THOUGHT, usd=2400 + 400 * 0.2 + 1000),
    # OpenAI's prompt_tokens have both in them; from GPT-5.6 on writes cost 1.25x.
    Told(
        "openai/gpt-6-luna",
        WRITTEN,
        WRITES,
        "/v1",
        usd=400 * 0.1 + 400 * 0.01 + 200 * 0.125 + 50 * 0.5,
    ),
    Told("openai/gpt-5.4-mini", SAID, THOUGHT, "/v1", usd=450 + 400 * 0.075 + 50 * 4.5),
    # Above 272,000 tokens the whole request costs more.
    Told(
        "openai/gpt-5.4",
        Say("It is here.", 300_000, 50, 100_000),
        LONG,
        "/v1",
        usd=200_000 * 5 + 100_000 * 0.5 + 50 * 22.5,
    ),
    # Gemini's thoughts are no candidates.
    Told("gemini/gemini-3.8-flash", SAID, THOUGHT, usd=450 + 400 * 0.075 + 50 * 3.75),
    Told(
        "gemini/gemini-2.5-pro",
        Say("It is here.", 300_000, 50, 100_000),
        LONG,
        usd=200_000 * 2.5 + 100_000 * 0.25 + 50 * 15,
    ),
    Told("hosted_vllm/mine", SAID, READ, "/vllm/v1", OWN_USD, OWN),
    Told("hosted_vllm/mine", SAID, READ, "/vllm/v1"),
    Told("ollama_chat/mine", SAID, Usage(1000, 50), usd=1000 + 500, own=OWN),
    Told("deepseek/mine", SAID, THOUGHT, "/deepseek", OWN_USD, OWN),
    Told("moonshot/mine", SAID, READ, "/moonshot", OWN_USD, OWN),
    Told("xai/mine", SAID, THOUGHT, "/xai", OWN_USD, OWN),
    # Engines that litellm does not know, behind its plain OpenAI client.
    Told("openai/mine", SAID, THOUGHT, "/xai", OWN_USD, OWN),
    Told("openai/mine", WRITTEN, WRITES, "/apart", OWN_USD, OWN),
]


def ignore(_: Chunk) -> None:
    """Stream, and drop what comes."""


def ask_sync(ask: Ask) -> Reply:
    return CLIENT.ask(ask)


def ask_async(ask: Ask) -> Reply:
    return run_async(lambda: CLIENT.ask_async(ask))


both_ways = pytest.mark.parametrize("asking", [ask_sync, ask_async], ids=["sync", "async"])
streamed = pytest.mark.parametrize("on_chunk", [None, ignore], ids=["whole", "streamed"])
Asking = Callable[[Ask], Reply]
OnChunk = Callable[[Chunk], None] | None


def asked(told: Told, provider: FakeProvider, asking: Asking, on_chunk: OnChunk) -> Reply:
    provider.script(told.model.partition("/")[2], told.said)
    base = provider.root_url + told.path
    deployment = Deployment(model=told.model, api_base=base, **told.own)
    tier = NamedTier("fast", Tier(deployments=(deployment,)))
    return asking(Ask(deployment, tier, a_request(), "answer", 1, on_chunk))


@both_ways
@streamed
@pytest.mark.parametrize("told", CASES, ids=str)
def test_each_dialect_becomes_the_same_tokens_at_the_models_prices(
    told: Told, asking: Asking, on_chunk: OnChunk, provider: FakeProvider
) -> None:
    reply = asked(told, provider, asking, on_chunk)

    assert reply.text == "It is here."
    assert reply.usage == told.usage
    assert reply.cost_usd == (None if told.usd is None else pytest.approx(told.usd / 1e6))


MUTE = Say("It is here.", usage=False)
TOLD_NOTHING = [
    *(Told(f"hosted_vllm/{name}", MUTE, Usage(), "/vllm/v1") for name in ("mine", "llama-3.3")),
    Told("openai/mine", MUTE, Usage(), "/v1"),
    Told("deepseek/mine", MUTE, Usage(), "/deepseek"),
]
"""Llamas, because litellm would ask the network how to count their tokens."""


@both_ways
@streamed
@pytest.mark.parametrize("told", TOLD_NOTHING, ids=str)
def test_where_no_usage_is_told_it_is_guessed_and_says_so(
    told: Told, asking: Asking, on_chunk: OnChunk, provider: FakeProvider
) -> None:
    usage = asked(told, provider, asking, on_chunk).usage

    assert usage.estimated
    assert usage.output_tokens == 3
    assert usage.input_tokens > 0


@streamed
def test_a_stream_of_ollamas_that_tells_no_usage_is_guessed_too(
    on_chunk: OnChunk, provider: FakeProvider
) -> None:
    told = Told("ollama_chat/mine", MUTE, Usage())
    usage = asked(told, provider, ask_sync, on_chunk).usage

    # Of a whole reply litellm makes a count of its own, and does not say so.
    assert usage.estimated is (on_chunk is not None)
    assert usage.output_tokens > 0
