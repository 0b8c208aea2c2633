"""Prices: what a call's tokens cost in USD. Reads litellm's price map as data, never imports it.

Importing litellm costs seconds, and a run answered from the cache must be able to name its prices.
"""

import importlib.util
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..request import Usage
from ..settings import Deployment, Tier

_MAP_FILE = "model_prices_and_context_window_backup.json"
_STEP = re.compile(r"input_cost_per_token_above_(\d+)k_tokens")


@dataclass(frozen=True, slots=True)
class Prices:
    """USD per token. A request longer than `above_tokens` is priced by the next `Prices`.

    `cache_write_1h`: of a prefix that is kept for an hour; None where that is not offered.
    """

    input: float
    output: float
    cache_read: float
    cache_write: float
    above_tokens: int | None = None
    above: "Prices | None" = None
    cache_write_1h: float | None = None

    def at(self, input_tokens: int) -> "Prices":
        """Return the prices of a request of that length."""
        if self.above and self.above_tokens is not None and input_tokens > self.above_tokens:
            return self.above.at(input_tokens)
        return self

    def saved_by_prefix_usd(self, usage: Usage) -> float:
        """Return what cache reads took off the price of these tokens, less what writes added."""
        prices = self.at(usage.input_tokens)
        read, written = usage.cache_read_tokens, usage.cache_write_tokens
        long = usage.cache_write_1h_tokens
        return (
            read * (prices.input - prices.cache_read)
            + (written - long) * (prices.input - prices.cache_write)
            + long * (prices.input - prices.hourly_write)
        )

    @property
    def hourly_write(self) -> float:
        """The price of a write that is kept for an hour, that of any write where none is listed."""
        return self.cache_write if self.cache_write_1h is None else self.cache_write_1h

    def cost_usd(self, usage: Usage) -> float:
        """Return what these tokens cost."""
        prices = self.at(usage.input_tokens)
        if prices is not self:
            return prices.cost_usd(usage)
        long = usage.cache_write_1h_tokens
        fresh = max(0, usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens)
        return (
            fresh * self.input
            + usage.cache_read_tokens * self.cache_read
            + (usage.cache_write_tokens - long) * self.cache_write
            + long * self.hourly_write
            + usage.output_tokens * self.output
        )


def prices_of(deployment: Deployment) -> Prices | None:
    """Return the deployment's own prices, else litellm's for its model, else None: unpriced."""
    own_input, own_output = deployment.input_usd_per_mtok, deployment.output_usd_per_mtok
    if own_input is None or own_output is None:
        return _listed(deployment.model)
    read, write = deployment.cache_read_usd_per_mtok, deployment.cache_write_usd_per_mtok
    return Prices(
        input=own_input / 1e6,
        output=own_output / 1e6,
        cache_read=(own_input if read is None else read) / 1e6,
        cache_write=(own_input if write is None else write) / 1e6,
    )


def first_priced(tier: Tier) -> tuple[Deployment, Prices] | None:
    """Return the first deployment of a tier whose price is known, with its prices."""
    for deployment in tier.deployments:
        if (prices := prices_of(deployment)) is not None:
            return deployment, prices
    return None


@lru_cache(maxsize=256)
def _listed(model: str) -> Prices | None:
    entry = _entry(model)
    if not entry or "input_cost_per_token" not in entry or "output_cost_per_token" not in entry:
        return None
    steps = sorted(int(match[1]) for key in entry if (match := _STEP.fullmatch(key)))
    prices: Prices | None = None
    above_tokens: int | None = None
    for thousands in reversed(steps):
        suffix = f"_above_{thousands}k_tokens"
        prices = _read(entry, suffix, above_tokens, prices)
        # xAI's higher prices begin at the limit, the others' above it.
        above_tokens = thousands * 1000 - (entry.get("litellm_provider") == "xai")
    return _read(entry, "", above_tokens, prices)


def _read(
    entry: Mapping[str, Any], suffix: str, above_tokens: int | None, above: Prices | None
) -> Prices:
    def price(name: str, default: float) -> float:
        value = entry.get(name + suffix)
        if value is None:
            value = entry.get(name)
        return default if value is None else float(value)

    fresh = price("input_cost_per_token", 0.0)
    hourly = "cache_creation_input_token_cost_above_1hr"
    return Prices(
        input=fresh,
        output=price("output_cost_per_token", 0.0),
        cache_read=price("cache_read_input_token_cost", fresh),
        cache_write=price("cache_creation_input_token_cost", fresh),
        above_tokens=above_tokens,
        above=above,
        cache_write_1h=price(hourly, 0.0) if entry.get(hourly) else None,
    )


@dataclass(frozen=True, slots=True)
class CacheFacts:
    """What litellm's price map says of a model's prompt cache; None where it says nothing.

    `takes_breakpoints`: it knows OpenAI's `prompt_cache_breakpoint`.
    """

    min_tokens: int | None = None
    takes_breakpoints: bool = False


def cache_facts(model: str) -> CacheFacts:
    """Return what is known of a model's prompt cache. `model`: litellm's name."""
    entry = _entry(model)
    if not entry:
        return CacheFacts()
    least = entry.get("prompt_cache_min_tokens")
    takes = entry.get("supports_prompt_cache_breakpoint") is True
    return CacheFacts(None if least is None else int(least), takes)


def _entry(model: str) -> Mapping[str, Any] | None:
    listed = _price_map()
    if model in listed:
        return listed[model]
    provider, _, rest = model.partition("/")
    # The map names the big providers' models without the provider.
    entry = listed.get(rest)
    return entry if entry and entry.get("litellm_provider") == provider else None


@lru_cache(maxsize=1)
def _price_map() -> Mapping[str, Mapping[str, Any]]:
    spec = importlib.util.find_spec("litellm")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError("litellm is not installed: pip install tierflow")
    path = Path(spec.submodule_search_locations[0]) / _MAP_FILE
    listed: Mapping[str, Mapping[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return listed
