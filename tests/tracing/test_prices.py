"""Prices: our sums against worked examples, and against litellm's own on its whole price map."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tierflow import Usage
from tierflow.routing.vendor import litellm
from tierflow.settings import Deployment, Tier
from tierflow.tracing import Prices, cache_facts, first_priced, prices_of

PROVIDERS = ("openai", "anthropic", "gemini", "mistral", "groq", "xai")
"""Not deepseek: litellm prices it by the time of day, and a ledger should say the same at night."""

USAGES = (
    Usage(1_000, 500),
    Usage(1_000, 500, cache_read_tokens=400),
    Usage(1_000, 500, cache_read_tokens=400, cache_write_tokens=300),
    Usage(1_000, 500, reasoning_tokens=200),
    Usage(0, 7),
    *(Usage(k * 1000 + more, 9, 100, 50) for k in (128, 200, 256, 272, 512) for more in (-1, 0, 1)),
    Usage(1_000_000, 64_000, 300_000),
)


def priced_by_litellm(provider: str, model: str, usage: Usage) -> float:
    vendor = litellm()
    details = {
        "cached_tokens": usage.cache_read_tokens,
        "cache_creation_tokens": usage.cache_write_tokens,
    }
    reported = vendor.Usage(
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
        total_tokens=usage.input_tokens + usage.output_tokens,
        prompt_tokens_details=details,
        completion_tokens_details={"reasoning_tokens": usage.reasoning_tokens},
        cache_read_input_tokens=usage.cache_read_tokens,
        cache_creation_input_tokens=usage.cache_write_tokens,
    )
    costs: tuple[float, float] = vendor.cost_per_token(
        model=model, custom_llm_provider=provider, usage_object=reported
    )
    return sum(costs)


def chat_models(provider: str) -> list[str]:
    listed = litellm().model_cost.items()
    return [
        name.removeprefix(f"{provider}/")
        for name, entry in listed
        if entry.get("litellm_provider") == provider and entry.get("mode") == "chat"
    ]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_our_sums_equal_litellms_for_every_chat_model(provider: str) -> None:
    compared = 0
    for model in chat_models(provider):
        prices = prices_of(Deployment(model=f"{provider}/{model}"))
        if prices is None:
            continue
        for usage in USAGES:
            theirs = priced_by_litellm(provider, model, usage)
            assert prices.cost_usd(usage) == pytest.approx(theirs, rel=1e-9), (model, usage)
            compared += 1

    assert compared >= 5 * len(USAGES)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_only_what_litellm_lists_without_token_prices_is_unpriced(provider: str) -> None:
    listing = litellm().model_cost
    for name in chat_models(provider):
        listed = listing.get(f"{provider}/{name}") or listing[name]
        has_prices = {"input_cost_per_token", "output_cost_per_token"} <= listed.keys()
        prices = prices_of(Deployment(model=f"{provider}/{name}"))

        assert (prices is not None) == has_prices, name


OWN: dict[str, Any] = {"input_usd_per_mtok": 2.0, "output_usd_per_mtok": 10.0}


def test_a_deployments_own_prices_go_over_litellms() -> None:
    prices = prices_of(Deployment(model=f"openai/{chat_models('openai')[0]}", **OWN))

    assert prices == Prices(input=2e-6, output=1e-5, cache_read=2e-6, cache_write=2e-6)


def test_cached_tokens_have_prices_of_their_own() -> None:
    own: dict[str, Any] = OWN | {"cache_read_usd_per_mtok": 0.5, "cache_write_usd_per_mtok": 4.0}
    prices = prices_of(Deployment(model="openai/mine", **own))

    assert prices is not None
    cost = prices.cost_usd(Usage(1_000_000, 100_000, 600_000, 100_000))
    assert cost == pytest.approx(0.3 * 2 + 0.6 * 0.5 + 0.1 * 4 + 0.1 * 10)


def test_a_price_of_zero_is_a_price() -> None:
    free: dict[str, Any] = {"input_usd_per_mtok": 0, "output_usd_per_mtok": 0}
    prices = prices_of(Deployment(model="local/zero-shot", **free))

    assert prices is not None
    assert prices.cost_usd(Usage(1000, 1000)) == 0


@pytest.mark.parametrize("half", OWN)
def test_half_a_price_is_refused(half: str) -> None:
    with pytest.raises(ValidationError, match=r"openai/mine has only one of .* Give both"):
        Deployment.model_validate({"model": "openai/mine", half: 1.0})


@pytest.mark.parametrize("model", ["openai/no-such-model", "nobody/gpt-4o"])
def test_a_model_that_litellm_does_not_list_is_unpriced(model: str) -> None:
    assert prices_of(Deployment(model=model)) is None


def test_a_name_is_not_priced_as_another_providers_model() -> None:
    (model, *_) = chat_models("anthropic")

    assert prices_of(Deployment(model=f"anthropic/{model}")) is not None
    assert prices_of(Deployment(model=f"groq/{model}")) is None


def test_the_first_priced_deployment_stands_for_its_tier() -> None:
    unknown = Deployment(model="openai/no-such-model")
    mine = Deployment(model="openai/mine", **OWN)

    found = first_priced(Tier(deployments=(unknown, mine)))

    assert found is not None
    assert found[0] is mine
    assert first_priced(Tier(deployments=(unknown,))) is None


rates = st.floats(0, 1e-3)
prices = st.builds(Prices, rates, rates, rates, rates)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    read, write, fresh, out = (draw(st.integers(0, 10**6)) for _ in range(4))
    return Usage(read + write + fresh, out, read, write)


@given(prices, usages(), usages())
def test_prices_are_additive(price: Prices, one: Usage, other: Usage) -> None:
    together = price.cost_usd(one + other)

    assert together == pytest.approx(price.cost_usd(one) + price.cost_usd(other), abs=1e-9)
    assert together >= 0


@given(prices, prices, usages(), st.integers(0, 3 * 10**6))
def test_a_request_is_priced_as_a_whole_by_the_step_it_reaches(
    low: Prices, high: Prices, usage: Usage, limit: int
) -> None:
    both = Prices(low.input, low.output, low.cache_read, low.cache_write, limit, high)

    expected = high if usage.input_tokens > limit else low
    assert math.isclose(both.cost_usd(usage), expected.cost_usd(usage))


def test_an_hours_write_is_priced_like_litellm_does() -> None:
    vendor = litellm()
    usage = Usage(10_000, 9, 1000, 5000, cache_write_1h_tokens=2000)
    split = {"ephemeral_5m_input_tokens": 3000, "ephemeral_1h_input_tokens": 2000}
    reported = vendor.Usage(
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
        total_tokens=usage.input_tokens + usage.output_tokens,
        prompt_tokens_details={
            "cached_tokens": 1000,
            "cache_creation_tokens": 5000,
            "cache_creation_token_details": split,
        },
        cache_read_input_tokens=1000,
        cache_creation_input_tokens=5000,
    )
    models = [
        model
        for model in chat_models("anthropic")
        if (prices := prices_of(Deployment(model=f"anthropic/{model}")))
        and prices.cache_write_1h is not None
    ]

    assert len(models) > 10
    for model in models:
        costs = vendor.cost_per_token(
            model=model, custom_llm_provider="anthropic", usage_object=reported
        )
        prices = prices_of(Deployment(model=f"anthropic/{model}"))
        assert prices
        assert prices.cost_usd(usage) == pytest.approx(sum(costs))


def test_what_the_prompt_cache_saves_is_the_price_without_it_less_the_price_with_it() -> None:
    prices = Prices(1.0, 5.0, 0.1, 1.25, above_tokens=1000, above=Prices(2.0, 9.0, 0.2, 2.5))
    for usage in (
        Usage(900, 7, 500, 300),
        Usage(900, 7, 0, 900, cache_write_1h_tokens=100),
        Usage(1001, 7, 1000),
        Usage(5, 5),
    ):
        uncached = Usage(usage.input_tokens, usage.output_tokens)
        saved = prices.cost_usd(uncached) - prices.cost_usd(usage)
        assert prices.saved_by_prefix_usd(usage) == pytest.approx(saved)


def test_a_write_that_nobody_reads_saves_less_than_nothing() -> None:
    hourly = Prices(1.0, 5.0, 0.1, 1.25, cache_write_1h=2.0)

    assert hourly.saved_by_prefix_usd(Usage(100, 1, 0, 100)) == pytest.approx(-25)
    assert hourly.saved_by_prefix_usd(
        Usage(100, 1, 0, 100, cache_write_1h_tokens=100)
    ) == pytest.approx(-100)


def test_the_price_map_says_what_a_model_keeps_and_how_it_is_told() -> None:
    assert cache_facts("anthropic/claude-haiku-5-5").min_tokens == 512
    assert cache_facts("openai/gpt-6-luna").takes_breakpoints
    assert not cache_facts("openai/gpt-5.4-mini").takes_breakpoints
    assert cache_facts("nobody/knows").min_tokens is None
