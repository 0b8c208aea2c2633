"""Vendors: which endpoints keep prefixes, what they must be told, and from which length on.

A table, with its sources. Prices and most minimum lengths come from litellm's price map; here is
only what the map does not say. Asks nobody.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from ...request import PromptCacheDialect
from ...settings import Deployment
from ...tracing import Prices, cache_facts, prices_of


@dataclass(frozen=True, slots=True)
class Vendor:
    """How an endpoint keeps prefixes.

    `min_tokens`: shorter prefixes are silently not kept. `ttl_s`: seconds a prefix stays readable
    after its last use. `takes_key`: it knows `prompt_cache_key`. `assistant_marks`: messages of
    the assistant may be marked. `ratios`: input price multiplied by these gives read, write and
    1-hour write where no price is known. `is_own`: it is an engine of one's own, where a read saves
    work whatever it costs. `why`: one line for those who keep none.
    """

    dialect: PromptCacheDialect
    min_tokens: int = 0
    ttl_s: float = 300.0
    takes_key: bool = False
    assistant_marks: bool = True
    ratios: tuple[float, float, float | None] = (1.0, 1.0, None)
    is_own: bool = False
    why: str = ""


# platform.claude.com/docs, prompt caching: up to 4 breakpoints, tools -> system -> messages; kept
# 5 minutes (write 1.25x) or 1 hour (2x), each read renews; minimum 512 to 4096 by model. The
# largest is taken for a model that the price map does not know.
ANTHROPIC = Vendor("anthropic", 4096, ratios=(0.1, 1.25, 2.0))

# developers.openai.com/api/docs/guides/prompt-caching, GPT-5.6 and later: at least 1024 tokens;
# writes 1.25x; kept 30 minutes; a prefix is found at a breakpoint only. Without `mode: explicit`
# the breakpoint lies behind the last message, so that calls with different endings write all of
# their prompt and read nothing. Assistant messages take no breakpoint.
OPENAI = Vendor("openai", 1024, 1800.0, True, False, (0.1, 1.25, None))

# The same page, older models: automatic, writes are free, kept 5 to 10 minutes.
OPENAI_AUTOMATIC = Vendor("automatic", 1024, 300.0, takes_key=True, ratios=(0.5, 1.0, None))

# ai.google.dev/gemini-api/docs/caching: implicit from Gemini 2.5 on, 2048 or 4096 tokens, without
# a promise; no time is named, so a short one is assumed.
GEMINI = Vendor("automatic", 4096, 180.0, ratios=(0.1, 1.0, None))

# api-docs.deepseek.com/guides/kv_cache: automatic, on disk, units of 64 tokens, kept for hours.
DEEPSEEK = Vendor("automatic", 64, 3600.0, ratios=(0.1, 1.0, None))

# Everybody else whose reads the price map lists as cheaper: automatic as far as is known.
AUTOMATIC = Vendor("automatic", 1024, 300.0, ratios=(0.5, 1.0, None))

# docs.vllm.ai, automatic prefix caching, and SGLang's RadixAttention: both keep whole blocks until
# others need the room. A short prefix is read anew faster than another call is waited for.
OWN_ENGINE = Vendor("automatic", 256, 300.0, ratios=(0.1, 1.0, None), is_own=True)

_NAMED: Mapping[str, Vendor] = {
    "anthropic": ANTHROPIC,
    "openai": OPENAI,
    "automatic": AUTOMATIC,
    "none": Vendor("none", why="the deployment says prompt_cache = none"),
}
_CLAUDE_HOSTS = {"bedrock", "vertex_ai", "azure_ai", "openrouter"}
_OPENAI_HOST = "api.openai.com"
_OWN_WORDS = (
    "cache_control_injection_points",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
)


def vendor_of(deployment: Deployment, environ: Mapping[str, str]) -> Vendor:  # noqa: PLR0911  # one a kind
    """Return how a deployment's endpoint keeps prefixes; unknown ones are told nothing.

    `environ`: litellm takes OpenAI's endpoint from it where the deployment names none.
    """
    own = [name for name in _OWN_WORDS if name in deployment.params]
    if own:
        return Vendor("none", why=f"the deployment's params say it themselves ({', '.join(own)})")
    if deployment.prompt_cache != "auto":
        return _NAMED[deployment.prompt_cache]
    provider, model = deployment.provider, deployment.model
    if deployment.pool:
        return OWN_ENGINE
    if provider == "anthropic":
        # Engines speak this API too, and have no prices: there is nothing to save.
        is_own = deployment.api_base and prices_of(deployment) is None
        return Vendor("none", why="an engine of one's own has no prices") if is_own else ANTHROPIC
    if provider in _CLAUDE_HOSTS and "claude" in model:
        return ANTHROPIC
    if provider == "openai":
        return _openai(deployment, environ)
    if provider in {"gemini", "vertex_ai"}:
        return GEMINI
    if deployment.api_base:
        return Vendor("none", why=f"{provider} at an endpoint of its own is told nothing")
    return DEEPSEEK if provider == "deepseek" else _other(deployment)


def least_tokens(deployment: Deployment, vendor: Vendor) -> int:
    """Return the shortest prefix that the deployment's provider keeps."""
    listed = cache_facts(deployment.model).min_tokens
    return vendor.min_tokens if listed is None else listed


def unit_prices(vendor: Vendor) -> Prices:
    """Return prices in multiples of the input price, for a model whose prices are not known."""
    read, write, hourly = vendor.ratios
    return Prices(1.0, 1.0, read, write, cache_write_1h=hourly)


def _openai(deployment: Deployment, environ: Mapping[str, str]) -> Vendor:
    base = (
        deployment.api_base or environ.get("OPENAI_BASE_URL") or environ.get("OPENAI_API_BASE", "")
    )
    host = urlsplit(base).hostname or ""
    if base and host != _OPENAI_HOST and not host.endswith(f".{_OPENAI_HOST}"):
        # litellm hands marks on as they are, and strict engines refuse what they do not know.
        return Vendor("none", why="an OpenAI-like endpoint that is not OpenAI's is told nothing")
    return OPENAI if cache_facts(deployment.model).takes_breakpoints else OPENAI_AUTOMATIC


def _other(deployment: Deployment) -> Vendor:
    prices = prices_of(deployment)
    if prices is None or prices.cache_read >= prices.input:
        return Vendor("none", why=f"no cheaper reads are known for {deployment.model}")
    if prices.cache_write > prices.input:
        return Vendor("none", why=f"no marks are known that {deployment.provider} understands")
    return AUTOMATIC
