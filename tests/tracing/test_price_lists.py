"""Price lists: litellm's map, which calls are priced by, against genai-prices, model by model."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

import tierflow
from tierflow.settings import settings

pytest.importorskip("genai_prices", reason="pip install 'tierflow[test]'")

DOCS = Path(tierflow.__file__).parents[1] / "docs"

KNOWN: dict[tuple[str, str], tuple[float | None, float | None]] = {
    # litellm, genai-prices. USD per million tokens; None: it does not list the model.
    ("anthropic/claude-sonnet-4-5", "1 h write above 200k"): (6.0, 12.0),
    ("anthropic/claude-sonnet-4-5", "cache read above 200k"): (0.3, 0.6),
    ("anthropic/claude-sonnet-4-5", "cache write above 200k"): (3.75, 7.5),
    ("anthropic/claude-sonnet-4-5", "input above 200k"): (3.0, 6.0),
    ("anthropic/claude-sonnet-4-5", "output above 200k"): (15.0, 22.5),
    ("cohere/command-a-03-2025", "input"): (None, 2.5),
    # genai-prices still has the older model of that name, by the time of day.
    ("deepseek/deepseek-chat", "cache read"): (0.028, 0.07),
    ("deepseek/deepseek-chat", "cache write"): (0.0, 0.27),
    ("deepseek/deepseek-chat", "input"): (0.28, 0.27),
    ("deepseek/deepseek-chat", "output"): (0.42, 1.1),
    ("deepseek/deepseek-reasoner", "cache read"): (0.028, 0.14),
    ("deepseek/deepseek-reasoner", "cache write"): (0.28, 0.55),
    ("deepseek/deepseek-reasoner", "input"): (0.28, 0.55),
    ("deepseek/deepseek-reasoner", "output"): (0.42, 2.19),
    ("groq/llama-3.3-70b-versatile", "input"): (None, 0.59),
    # The name moves from model to model.
    ("mistral/mistral-large-latest", "cache read"): (0.05, 2.0),
    ("mistral/mistral-large-latest", "cache write"): (0.5, 2.0),
    ("mistral/mistral-large-latest", "input"): (0.5, 2.0),
    ("mistral/mistral-large-latest", "output"): (1.5, 6.0),
    ("moonshot/kimi-k2-thinking", "input"): (None, 0.6),
    ("openai/gpt-6.1-terra", "input"): (None, 1.0),
    # A fee for each search, which no token is charged with.
    ("perplexity/sonar", "1,000 requests"): (0.0, 12.0),
    ("perplexity/sonar-pro", "1,000 requests"): (0.0, 14.0),
    ("xai/grok-4", "input"): (None, 3.0),
}


def lists() -> Any:
    """Return the script that compares them; docs/ is no package."""
    spec = importlib.util.spec_from_file_location("price_lists", DOCS / "prices.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_lists_disagree_where_it_is_known_and_nowhere_else() -> None:
    found = {
        (each.model, each.kind): (each.litellm, each.genai_prices)
        for each in lists().disagreements()
    }
    rounded = {
        where: tuple(None if price is None else round(price, 6) for price in prices)
        for where, prices in found.items()
    }
    new = {where: prices for where, prices in rounded.items() if KNOWN.get(where) != prices}
    gone = sorted(KNOWN.keys() - rounded.keys())
    assert not new, f"New disagreements (litellm, genai-prices; USD per MTok): {new}"
    assert not gone, f"They agree by now, so take them out of the table: {gone}"


def test_all_of_the_shipped_catalogue_is_compared(project: Path) -> None:
    shipped = [each.model for _, tier in settings().tiers.items() for each in tier.deployments]
    assert project.exists()
    assert list(lists().CATALOGUE) == shipped


def test_every_price_that_is_compared_is_read_from_both() -> None:
    module = lists()
    for model in module.CATALOGUE:
        assert module._litellm(model).keys() >= {"input", "output", "cache read", "cache write"}
        assert module._genai(model).keys() >= {"input", "output", "cache read", "cache write"}
    # Anthropic's hour and a step at a length are among them.
    assert "1 h write above 100k" in module._litellm("anthropic/claude-haiku-5-5")
    assert "1 h write above 100k" in module._genai("anthropic/claude-haiku-5-5")


def test_the_page_says_what_is_installed() -> None:
    module = lists()
    told = (DOCS / "prices.md").read_text(encoding="utf-8")
    assert told == module.page(), "Run `python docs/prices.py`."
