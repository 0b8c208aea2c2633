"""Compare the price list that tierflow reads with another one, and write docs/prices.md.

tierflow prices calls by litellm's bundled map. genai-prices keeps a list of its own, from the
providers' pages, too. `python docs/prices.py` writes where they disagree; a test holds the page and
the list of known disagreements to what is installed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, cast

from genai_prices import data_snapshot
from genai_prices.types import ConditionalPrice, ModelPrice, StartDateConstraint, TieredPrices

from tierflow.settings import Deployment
from tierflow.tracing import Prices, prices_of

PAGE = Path(__file__).with_suffix(".md")
AS_OF = datetime(2026, 11, 28, 12, tzinfo=UTC)
"""Some prices change on a day. The other list is read as of this one, or the page would change."""

CATALOGUE = (
    "anthropic/claude-haiku-5-5",
    "openai/gpt-6-luna",
    "gemini/gemini-3.5-flash-lite",
    "anthropic/claude-sonnet-5-5",
    "openai/gpt-6.1-sol",
    "gemini/gemini-3.8-flash",
    "anthropic/claude-opus-5-5",
    "openai/gpt-6-astra",
    "gemini/gemini-4-argon",
)
WELL_KNOWN = (
    "anthropic/claude-fable-5-1",
    "anthropic/claude-haiku-4-5",
    "anthropic/claude-opus-4-5",
    "anthropic/claude-sonnet-4-5",
    "anthropic/claude-sonnet-5",
    "cohere/command-a-03-2025",
    "deepseek/deepseek-chat",
    "deepseek/deepseek-reasoner",
    "gemini/gemini-2.5-flash",
    "gemini/gemini-2.5-flash-lite",
    "gemini/gemini-2.5-pro",
    "groq/llama-3.3-70b-versatile",
    "groq/openai/gpt-oss-120b",
    "mistral/mistral-large-latest",
    "mistral/mistral-medium-latest",
    "mistral/mistral-small-latest",
    "moonshot/kimi-k2-thinking",
    "openai/gpt-4.1",
    "openai/gpt-4o",
    "openai/gpt-4o-mini",
    "openai/gpt-5",
    "openai/gpt-5-mini",
    "openai/gpt-5.4",
    "openai/gpt-5.4-mini",
    "openai/gpt-6.1-terra",
    "openai/o3",
    "openai/o4-mini",
    "perplexity/sonar",
    "perplexity/sonar-pro",
    "xai/grok-4",
)

_PROVIDERS = {"gemini": "google", "moonshot": "moonshotai", "xai": "x-ai"}
"""genai-prices' names where they are not litellm's."""

_KINDS = ("input", "output", "cache read", "cache write", "1 h write")
_FEE = "1,000 requests"

Rates = Mapping[str, float]
"""USD per million tokens by kind. `input above 272k`: of a request that is longer."""


@dataclass(frozen=True, order=True)
class Disagreement:
    """What both lists say of one price. None: they have no price of the model at all."""

    model: str
    kind: str
    litellm: float | None
    genai_prices: float | None


@dataclass(frozen=True)
class Change:
    """A price that genai-prices says will hold from a day on."""

    model: str
    day: date
    rates: Rates


def disagreements() -> list[Disagreement]:
    """Return where the installed lists disagree, sorted."""
    return sorted(found for model in (*CATALOGUE, *WELL_KNOWN) for found in _compared(model))


def changes() -> list[Change]:
    """Return the changes of prices that are known ahead."""
    return [found for model in (*CATALOGUE, *WELL_KNOWN) for found in _announced(model)]


def _compared(model: str) -> Iterator[Disagreement]:
    ours, theirs = _litellm(model), _genai(model)
    if ours is None or theirs is None:
        if ours is not theirs:
            sides = [None if each is None else each["input"] for each in (ours, theirs)]
            yield Disagreement(model, "input", *sides)
        return
    for kind in dict.fromkeys((*ours, *theirs)):
        one, other = _rate(ours, kind), _rate(theirs, kind)
        if round(one, 6) != round(other, 6):
            yield Disagreement(model, kind, one, other)


def _rate(rates: Rates, kind: str) -> float:
    base, _, length = kind.partition(" above")
    if kind in rates:
        return rates[kind]
    # Where a list has no step at a length, its price goes on; and an hour is any write's price.
    if length:
        return _rate(rates, base)
    return rates["cache write"] if base == _KINDS[-1] else 0.0


def _litellm(model: str) -> Rates | None:
    prices = prices_of(Deployment(model=model))
    return None if prices is None else dict(_steps(prices, ""))


def _steps(prices: Prices, suffix: str) -> Iterator[tuple[str, float]]:
    hourly = prices.cache_write_1h
    listed = (prices.input, prices.output, prices.cache_read, prices.cache_write, hourly)
    for kind, price in zip(_KINDS, listed, strict=True):
        if price is not None:
            yield kind + suffix, price * 1e6
    if prices.above is not None and prices.above_tokens is not None:
        yield from _steps(prices.above, f" above {round(prices.above_tokens / 1000)}k")


def _model(model: str) -> Any:
    provider, _, name = model.partition("/")
    snapshot = data_snapshot.get_snapshot()
    try:
        _, found = snapshot.find_provider_model(
            name, None, _PROVIDERS.get(provider, provider), None
        )
    except LookupError:
        return None
    return found


def _genai(model: str) -> Rates | None:
    found = _model(model)
    return None if found is None else _rates(found.get_prices(AS_OF))


def _rates(price: ModelPrice) -> Rates:
    told: Any = vars(price)
    names = ("input", "output", "cache_read", "cache_write", "cache_write_1h")
    lengths = sorted(
        {
            tier.start
            for each in told.values()
            if isinstance(each, TieredPrices)
            for tier in each.tiers
        }
    )
    rates = dict[str, float]()
    for length in (None, *lengths):
        suffix = "" if length is None else f" above {round(length / 1000)}k"
        fresh, out, *cached = (_at(told.get(f"{name}_mtok"), length) for name in names)
        # What has no price of its own costs what the tokens cost that it is part of.
        read, write = (fresh if each is None else each for each in cached[:2])
        listed = zip(_KINDS, (fresh, out, read, write, cached[2]), strict=True)
        rates |= {kind + suffix: float(part) for kind, part in listed if part is not None}
    if fee := told.get("requests_kcount"):
        rates[_FEE] = float(fee)
    return rates


def _at(price: Any, length: int | None) -> Any:
    if not isinstance(price, TieredPrices):
        return price
    if length is None:
        return price.base
    return next(tier.price for tier in reversed(price.tiers) if tier.start <= length)


def _announced(model: str) -> Iterator[Change]:
    found = _model(model)
    told: Any = found and found.prices
    dated = cast("list[ConditionalPrice]", told) if isinstance(told, list) else []
    for each in dated:
        starts: Any = each.constraint
        if isinstance(starts, StartDateConstraint) and starts.start_date > AS_OF.date():
            yield Change(model, starts.start_date, _rates(each.prices))


def page() -> str:
    """Return docs/prices.md as it should be."""
    lines = [
        "# Prices: where two lists disagree",
        "",
        "tierflow prices calls by the map that litellm brings along; `input_usd_per_mtok` and its",
        "like under a deployment go over it. Here it is compared with genai-prices, which keeps a",
        f"list of its own, as of {AS_OF:%Y-%m-%d}: the {len(CATALOGUE)} models of the shipped",
        f"catalogue and {len(WELL_KNOWN)} others; input, output, cache read and write, 1-hour",
        "write, and the same above a context length. USD per million tokens. What is not listed is",
        "the same in both. Neither is checked against the providers' pages: look there, and write",
        "the price into tierflow.toml. `python docs/prices.py` writes this page.",
        "",
        "| model | price | litellm | genai-prices |",
        "| --- | --- | --- | --- |",
        *(
            f"| {each.model} | {each.kind} | {_usd(each.litellm)} | {_usd(each.genai_prices)} |"
            for each in disagreements()
        ),
        "",
        "none: not listed. Such a call is unpriced until you give its price.",
        "",
        "## Changes that are known ahead",
        "",
        "litellm's map has no dates: it says what held when it was released. From the day on,",
        "update litellm, or write the price into tierflow.toml.",
        "",
        "| model | from | input | output | cache read |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {each.model} | {each.day} | "
            + " | ".join(_usd(each.rates[kind]) for kind in _KINDS[:3])
            + " |"
            for each in changes()
        ),
    ]
    return "\n".join(lines) + "\n"


def _usd(price: float | None) -> str:
    return "none" if price is None else f"{price:.6g}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE} has {len(disagreements())} disagreements.")
