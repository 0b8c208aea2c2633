"""Marks: what of a cache plan reaches a provider, over real sockets and through litellm."""

import json
from contextlib import suppress
from typing import Any

import pytest

from tests.fakes import FakeProvider, Say
from tierflow.caching.prefix import Keeper
from tierflow.errors import AttemptError
from tierflow.request import CachePlan, Request
from tierflow.routing import Ask, LiteLLMClient, NamedTier
from tierflow.routing.marks import cache_options, marked
from tierflow.settings import Deployment, Tier

INSTRUCTIONS = "Sort the message of the customer to the desk that should answer it. " * 1000
REQUEST = Request(
    "sort",
    (
        {"role": "system", "content": INSTRUCTIONS},
        {"role": "user", "content": "Where is it?"},
        {"role": "assistant", "content": "delivery"},
        {"role": "user", "content": "I want my money back."},
    ),
    3,
)
SAY = Say("refund")


def sent(provider: FakeProvider, plan: CachePlan | None, **deployment: Any) -> dict[str, Any]:
    """The body that arrives for a request with a plan."""
    named = Deployment(**deployment)
    tier = NamedTier("fast", Tier(deployments=(named,), timeout_s=10))
    with suppress(AttemptError):  # who speaks another dialect cannot read the reply
        LiteLLMClient({}).ask(Ask(named, tier, REQUEST, "answer", 1, None, plan))
    return provider.calls[-1].body


def marks_in(body: dict[str, Any]) -> int:
    text = json.dumps(body)
    return sum(text.count(word) for word in ('"cache_control"', "prompt_cache", "cachePoint"))


def test_anthropic_gets_a_mark_on_the_last_block_of_each_prefix(provider: FakeProvider) -> None:
    provider.script("claude-haiku-5-5", SAY)
    plan = CachePlan("anthropic", (1, 3), "5m")
    model = "anthropic/claude-haiku-5-5"

    body = sent(provider, plan, model=model, api_base=provider.root_url)

    mark = {"type": "ephemeral"}
    system = [{"type": "text", "text": INSTRUCTIONS, "cache_control": mark}]
    assert body["system"] == system
    assert [message["content"] for message in body["messages"]] == [
        [{"type": "text", "text": "Where is it?"}],
        [{"type": "text", "text": "delivery", "cache_control": mark}],
        [{"type": "text", "text": "I want my money back."}],
    ]


def test_an_hour_is_named_on_every_mark(provider: FakeProvider) -> None:
    provider.script("claude-haiku-5-5", SAY)
    plan = CachePlan("anthropic", (1, 3), "1h")
    model = "anthropic/claude-haiku-5-5"

    body = sent(provider, plan, model=model, api_base=provider.root_url)

    assert json.dumps(body).count('{"type": "ephemeral", "ttl": "1h"}') == 2


def test_openai_gets_breakpoints_its_mode_and_the_key(provider: FakeProvider) -> None:
    provider.script("gpt-6-luna", SAY)
    plan = CachePlan("openai", (1, 2), "30m", cache_key="abc")

    body = sent(provider, plan, model="openai/gpt-6-luna", api_base=provider.base_url)

    explicit = {"mode": "explicit"}
    assert [message["content"] for message in body["messages"]] == [
        [{"type": "text", "text": INSTRUCTIONS, "prompt_cache_breakpoint": explicit}],
        [{"type": "text", "text": "Where is it?", "prompt_cache_breakpoint": explicit}],
        "delivery",
        "I want my money back.",
    ]
    assert (body["prompt_cache_options"], body["prompt_cache_key"]) == (explicit, "abc")


def test_openai_is_told_to_keep_nothing_by_the_mode_alone(provider: FakeProvider) -> None:
    provider.script("gpt-6-luna", SAY)

    body = sent(
        provider, CachePlan("openai"), model="openai/gpt-6-luna", api_base=provider.base_url
    )

    assert body["prompt_cache_options"] == {"mode": "explicit"}
    assert marks_in(body) == 1


def test_an_older_openai_model_gets_the_key_and_no_more(provider: FakeProvider) -> None:
    provider.script("gpt-5.4-mini", SAY)
    plan = CachePlan("automatic", cache_key="abc")

    body = sent(provider, plan, model="openai/gpt-5.4-mini", api_base=provider.base_url)

    assert body["prompt_cache_key"] == "abc"
    assert marks_in(body) == 1


def test_bedrock_gets_its_own_cache_points(provider: FakeProvider) -> None:
    keys = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
    where = {"aws_region_name": "eu-west-1", "aws_bedrock_runtime_endpoint": provider.root_url}
    provider.script("converse", SAY)
    plan = CachePlan("anthropic", (1,), "5m")
    model = "bedrock/anthropic.claude-haiku-4-5-20251001-v1:0"

    body = sent(provider, plan, model=model, params=keys | where)

    assert body["system"] == [{"text": INSTRUCTIONS}, {"cachePoint": {"type": "default"}}]
    assert marks_in(body) == 1


KINDS = [
    "openai/qwen",
    "openai/gpt-6-luna",
    "hosted_vllm/qwen",
    "ollama_chat/llama3",
    "llamafile/llama3",
    "lm_studio/llama3",
    "mistral/mistral-large-latest",
    "groq/llama-3.3-70b-versatile",
    "xai/grok-4",
    "deepseek/deepseek-chat",
    "together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo",
    "openrouter/meta-llama/llama-3.3-70b-instruct",
    "azure/gpt-5.6-sol",
    "gemini/gemini-3.8-flash",
    "fireworks_ai/llama-v3p3-70b-instruct",
]


@pytest.mark.parametrize("model", KINDS)
def test_marks_never_reach_an_endpoint_that_does_not_know_them(
    model: str, provider: FakeProvider
) -> None:
    base = provider.base_url if "gemini" not in model else provider.root_url
    options: dict[str, Any] = {"model": model, "api_base": base}
    if model.startswith("azure/"):
        options["params"] = {"api_version": "2026-01-01"}
    deployment = Deployment(**options)
    keeper = Keeper({}, lambda: 0.0)
    # After the first ones, calls with this prefix are expected: elsewhere it would be marked.
    plans = [keeper.outlook(keeper.call(deployment, REQUEST, role="answer")).plan for _ in range(5)]

    body = sent(provider, plans[-1], **options)

    assert provider.calls
    assert marks_in(body) == 0


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("anthropic/claude-haiku-5-5", ""),
        ("azure_ai/claude-opus-5", ""),
        ("openrouter/anthropic/claude-sonnet-5", "/v1"),
    ],
)
def test_the_same_calls_are_marked_where_marks_are_known(
    model: str, path: str, provider: FakeProvider
) -> None:
    deployment = Deployment(model=model, api_base=f"{provider.root_url}{path}")
    keeper = Keeper({}, lambda: 0.0)
    plans = [keeper.outlook(keeper.call(deployment, REQUEST, role="answer")).plan for _ in range(5)]

    provider.script(model.partition("/")[2], SAY)
    body = sent(provider, plans[-1], model=model, api_base=deployment.api_base)

    assert marks_in(body) == 1


def test_without_a_plan_the_messages_are_as_they_were() -> None:
    assert marked(REQUEST.messages, None) == list(REQUEST.messages)
    assert cache_options(None) == {}


def test_a_marked_message_of_parts_keeps_them_and_the_original_is_not_touched() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    messages = ({"role": "system", "content": parts},)

    (message,) = marked(messages, CachePlan("anthropic", (1,), "5m"))

    assert message["content"][0] == {"type": "text", "text": "one"}
    assert message["content"][1]["cache_control"] == {"type": "ephemeral"}
    assert "cache_control" not in parts[1]
