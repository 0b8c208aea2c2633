"""Planner: whether a mark pays, where it goes and how long it holds."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.caching.prefix import (
    Boundary,
    Prefix,
    Reuse,
    Vendor,
    decide,
    expected_cost,
    vendor_of,
)
from tierflow.settings import Deployment
from tierflow.tracing import Prices

from .prompts import a_decision, a_request

MANY = Reuse(999)
HAIKU = "anthropic/claude-haiku-5-5"
CLAUDES = [HAIKU, "bedrock/anthropic.claude-haiku-4-5-20251001-v1:0", "vertex_ai/claude-opus-4-7"]


@pytest.mark.parametrize("model", CLAUDES)
def test_claude_is_marked_at_the_end_of_a_prefix_that_is_used_again(model: str) -> None:
    plan = a_decision(model, a_request(12_000), MANY).plan

    assert (plan.dialect, plan.marks, plan.ttl) == ("anthropic", (1,), "5m")
    assert plan.cache_key is None
    assert plan.warm_up


def test_a_pools_engines_keep_a_long_prefix_and_are_waited_for_while_they_read_it() -> None:
    long, short = (
        a_decision("openai/llama", a_request(tokens), MANY, pool="llama").plan
        for tokens in (4000, 100)
    )

    assert (long.dialect, long.marks, long.warm_up) == ("automatic", (), True)
    assert 0.5 < long.most_wait_s < 2
    assert not short.warm_up


def test_a_pools_price_does_not_say_whether_its_prefixes_are_worth_a_wait() -> None:
    prices: dict[str, Any] = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 1.0}
    plan = a_decision("openai/llama", a_request(4000), MANY, pool="llama", **prices).plan

    assert plan.warm_up


@pytest.mark.parametrize("model", ["openai/gpt-6-luna", "openai/gpt-5.6-sol"])
def test_newer_openai_models_get_a_breakpoint_and_a_key(model: str) -> None:
    plan = a_decision(model, a_request(4000), MANY).plan

    assert (plan.dialect, plan.marks, plan.ttl) == ("openai", (1,), "30m")
    assert plan.cache_key
    assert plan.ttl_s == 1800


def test_a_newer_openai_model_is_told_to_write_nothing_where_nothing_is_used_again() -> None:
    plan = a_decision("openai/gpt-6-luna", a_request(4000), Reuse(0)).plan

    assert (plan.dialect, plan.marks, plan.cache_key) == ("openai", (), None)


def test_openai_takes_no_mark_on_an_assistants_message_so_it_goes_before_the_last_one() -> None:
    request = a_request(4000, examples=2)

    assert a_decision("openai/gpt-6-luna", request, MANY).plan.marks == (4,)
    assert a_decision(HAIKU, request, MANY).plan.marks == (5,)


@pytest.mark.parametrize(
    "model",
    ["openai/gpt-5.4-mini", "gemini/gemini-3.8-flash", "deepseek/deepseek-chat", "xai/grok-4.3"],
)
def test_where_prefixes_are_kept_unasked_nothing_is_marked(model: str) -> None:
    plan = a_decision(model, a_request(8000), MANY).plan

    assert (plan.dialect, plan.marks, plan.ttl) == ("automatic", (), None)
    assert plan.warm_up
    assert (plan.cache_key is not None) == model.startswith("openai/")


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("hosted_vllm/qwen", {"api_base": "http://gpu:8000/v1"}),
        ("openai/qwen", {"api_base": "http://gpu:8000/v1"}),
        ("openai/gpt-6-luna", {"api_base": "http://gateway/v1"}),
        ("ollama_chat/llama3", {"api_base": "http://gpu:11434"}),
        ("local/zero-shot", {}),
        ("replay/claude-haiku-5-5", {}),
        ("azure/gpt-5.6-sol", {}),
        ("nobody/knows", {}),
        (HAIKU, {"prompt_cache": "none"}),
        ("anthropic/qwen", {"api_base": "http://gpu:8000"}),
    ],
)
def test_an_endpoint_that_is_not_known_to_know_marks_is_told_nothing(
    model: str, options: dict[str, Any]
) -> None:
    plan = a_decision(model, a_request(8000), MANY, **options).plan

    assert (plan.dialect, plan.marks, plan.cache_key, plan.warm_up) == ("none", (), None, False)
    assert plan.reason


def test_an_endpoint_from_the_environment_is_none_of_openais() -> None:
    request, environ = a_request(8000), {"OPENAI_BASE_URL": "http://gateway/v1"}

    assert a_decision("openai/gpt-6-luna", request, MANY, environ=environ).plan.dialect == "none"


@pytest.mark.parametrize("base", ["https://api.openai.com/v1", "https://eu.api.openai.com/v1"])
def test_openais_own_endpoints_are_known(base: str) -> None:
    plan = a_decision("openai/gpt-6-luna", a_request(8000), MANY, api_base=base).plan

    assert plan.dialect == "openai"


def test_a_host_that_only_sounds_like_openai_is_not() -> None:
    base = "https://api.openai.com.evil.example/v1"

    assert a_decision("openai/gpt-6-luna", a_request(8000), MANY, api_base=base).plan.marks == ()


def test_a_deployment_may_say_that_its_endpoint_knows_marks() -> None:
    options: dict[str, Any] = {"api_base": "http://gateway/v1", "prompt_cache": "openai"}

    assert a_decision("openai/gpt-6-luna", a_request(8000), MANY, **options).plan.marks == (1,)


def test_a_deployment_whose_params_speak_of_the_cache_is_left_alone() -> None:
    params = {"prompt_cache_options": {"mode": "implicit"}}
    plan = a_decision("openai/gpt-6-luna", a_request(8000), MANY, params=params).plan

    assert plan.dialect == "none"
    assert "prompt_cache_options" in plan.reason


def test_what_is_surely_too_short_is_not_marked() -> None:
    plan = a_decision(HAIKU, a_request(200), MANY).plan

    assert plan.marks == ()
    assert "512" in plan.reason


def test_near_the_minimum_a_mark_is_set_and_the_doubt_is_named() -> None:
    # Below the minimum a mark does nothing and costs nothing; above it, it pays.
    plan = a_decision(HAIKU, a_request(520), MANY).plan

    assert plan.marks == (1,)
    assert "if it has 512 tokens" in plan.reason


def test_without_a_prefix_there_is_nothing_to_keep() -> None:
    request = a_request(4000)
    request = type(request)("sort", request.messages, 0)

    assert "no prefix" in a_decision(HAIKU, request, MANY).plan.reason


def test_one_further_call_within_five_minutes_pays_and_none_does_not() -> None:
    assert a_decision(HAIKU, a_request(4000), Reuse(1)).plan.marks == (1,)
    assert a_decision(HAIKU, a_request(4000), Reuse(0)).plan.marks == ()


def test_calls_some_minutes_apart_are_kept_for_an_hour() -> None:
    assert a_decision(HAIKU, a_request(4000), Reuse(7, gap_s=480)).plan.ttl == "1h"
    assert a_decision(HAIKU, a_request(4000), Reuse(7, gap_s=20)).plan.ttl == "5m"


def test_calls_hours_apart_pay_no_write() -> None:
    plan = a_decision(HAIKU, a_request(4000), Reuse(1, gap_s=6 * 3600)).plan

    assert plan.marks == ()
    assert "pay no write" in plan.reason


def test_a_shorter_prefix_that_more_calls_share_gets_a_mark_of_its_own() -> None:
    request = a_request(4000, examples=3)

    assert a_decision(HAIKU, request, Reuse(50), Reuse(5)).plan.marks == (1, 7)
    assert a_decision(HAIKU, request, Reuse(5), Reuse(5)).plan.marks == (7,)
    assert a_decision(HAIKU, request, Reuse(50), Reuse(0)).plan.marks == (1,)


def test_own_prices_without_a_cheaper_read_are_believed() -> None:
    own: dict[str, Any] = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0}

    assert "no cheaper" in a_decision(HAIKU, a_request(4000), MANY, **own).plan.reason


def test_the_cost_is_the_one_that_the_price_list_gives() -> None:
    decision = a_decision(HAIKU, a_request(4000), Reuse(9))
    tokens = decision.prefix.ends[-1].tokens

    # $0.1 a million tokens; writes 1.25, reads 0.1 of it.
    assert decision.plain_cost == pytest.approx(10 * tokens * 1e-7)
    assert decision.planned_cost == pytest.approx((1.25 + 9 * 0.1) * tokens * 1e-7)


def test_an_unpriced_claude_is_judged_by_the_vendors_ratios() -> None:
    decision = a_decision("anthropic/claude-unheard-of", a_request(12_000), Reuse(9))

    assert decision.plan.marks == (1,)
    assert decision.planned_cost / decision.plain_cost == pytest.approx((1.25 + 0.9) / 10)


@given(
    st.floats(0, 1e4),
    st.floats(0, 1e6),
    st.sampled_from([300.0, 3600.0]),
    st.floats(0, 1),
    st.floats(1, 3),
)
def test_the_cost_of_keeping_lies_between_always_and_never_finding_it(
    further: float, gap_s: float, ttl_s: float, read: float, write: float
) -> None:
    cost = expected_cost(Reuse(further, gap_s), ttl_s, read=read, write=write)

    assert write + further * read <= cost * (1 + 1e-9)
    assert cost <= (write + further * write) * (1 + 1e-9)


lengths = st.lists(st.integers(1, 20_000), min_size=1, max_size=6)


@given(
    lengths,
    st.lists(st.floats(0, 1000), min_size=6, max_size=6),
    st.floats(0, 7200),
    st.integers(0, 8192),
    st.sampled_from(["anthropic", "openai"]),
    st.floats(0.01, 0.99),
    st.floats(1, 2),
    st.none() | st.floats(1, 4),
)
def test_a_plan_never_costs_more_than_none_and_marks_in_order_at_most_four_times(  # noqa: PLR0917  # one a strategy
    sizes: list[int],
    further: list[float],
    gap_s: float,
    least: int,
    dialect: Any,
    read: float,
    write: float,
    hourly: float | None,
) -> None:
    ends = tuple(
        Boundary(place + 1, f"key {place}", sum(sizes[: place + 1]), sum(sizes[: place + 1]))
        for place in range(len(sizes))
    )
    # Fewer calls share a longer prefix.
    falling = sorted(further[: len(sizes)], reverse=True)
    reuses = tuple(Reuse(each, gap_s) for each in falling)
    prices = Prices(1.0, 1.0, read, write, cache_write_1h=hourly)

    decision = decide(Prefix(Vendor(dialect), prices, least, ends, reuses))

    marks = decision.plan.marks
    assert decision.planned_cost <= decision.plain_cost * (1 + 1e-9)
    assert len(marks) <= 4
    assert list(marks) == sorted(set(marks))
    assert all(ends[mark - 1].high >= least for mark in marks)
    assert bool(marks) == (decision.planned_cost < decision.plain_cost)
    assert (decision.plan.ttl == "1h") <= (hourly is not None)
    assert math.isfinite(decision.planned_cost)


@pytest.mark.parametrize("name", ["prompt_cache_key", "prompt_cache_retention"])
def test_each_of_a_deployments_own_words_is_respected(name: str) -> None:
    deployment = Deployment(model="openai/gpt-5.4-mini", params={name: "x"})

    assert vendor_of(deployment, {}).dialect == "none"
