"""Signals: how busy a self-hosted engine is, read from its Prometheus page. Starts nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

from ..errors import EngineUnreadableError
from ..settings import shown_url

_NAMES = {
    "running": ("vllm:num_requests_running", "sglang:num_running_reqs"),
    "waiting": ("vllm:num_requests_waiting", "sglang:num_queue_reqs"),
    "kv_cache_use": ("vllm:kv_cache_usage_perc", "sglang:token_usage"),
}
_SHARES = {"kv_cache_use"}


@dataclass(frozen=True, slots=True)
class EngineSignals:
    """Requests being decoded, requests in the queue, and the share of KV cache in use (0-1).

    `hit_rate`: the share of prompt tokens that were cached, since it started; None where the page
    does not tell.
    """

    running: float
    waiting: float
    kv_cache_use: float
    hit_rate: float | None = None


class SignalSource(Protocol):
    """Where routing learns how busy an engine is."""

    def read(self, api_base: str) -> EngineSignals:
        """Return an engine's signals. Raises EngineUnreadableError."""
        ...


@dataclass(frozen=True, slots=True)
class MetricsPage:
    """A SignalSource that reads `/metrics` of vLLM and SGLang. `timeout_s`: for the whole page."""

    timeout_s: float = 2.0

    def read(self, api_base: str) -> EngineSignals:
        """Return an engine's signals. Raises EngineUnreadableError."""
        import httpx  # noqa: PLC0415  # comes with litellm; only for those who ask

        url = metrics_url(api_base)
        shown = shown_url(url)
        try:
            page = httpx.get(url, timeout=self.timeout_s).raise_for_status().text
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise EngineUnreadableError(
                f"{shown} gave no metrics ({type(exc).__name__}). Is the engine up, and started "
                "with its metrics page?"
            ) from exc
        return signals_in(page, shown)


def metrics_url(api_base: str) -> str:
    """Return where the engine behind an api_base has its Prometheus page."""
    parts = urlsplit(api_base)
    return urlunsplit((parts.scheme, parts.netloc, "/metrics", "", ""))


def signals_in(page: str, url: str) -> EngineSignals:
    """Return the signals of a Prometheus page. Raises EngineUnreadableError.

    A page may hold several engines: their requests are summed, their shares averaged.
    """
    values = samples_in(page, url)
    found = {
        signal: fmean(values[name]) if signal in _SHARES else sum(values[name])
        for signal, known in _NAMES.items()
        for name in known
        if name in values
    }
    if missing := _NAMES.keys() - found.keys():
        raise EngineUnreadableError(
            f"{url} does not name {', '.join(sorted(missing))}. vLLM and SGLang pages are known."
        )
    return EngineSignals(**found, hit_rate=_hit_rate(values))


def samples_in(page: str, url: str) -> Mapping[str, Sequence[float]]:
    """Return a Prometheus page's values by name, one an engine. Raises EngineUnreadableError."""
    from prometheus_client.parser import (  # noqa: PLC0415  # as above
        text_string_to_metric_families,
    )

    values: dict[str, list[float]] = {}
    try:
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                values.setdefault(sample.name, []).append(sample.value)
    except ValueError as exc:
        raise EngineUnreadableError(
            f"{url} is no page of Prometheus metrics. Does api_base name an engine?"
        ) from exc
    return values


def _hit_rate(values: Mapping[str, Sequence[float]]) -> float | None:
    if told := values.get("sglang:cache_hit_rate"):
        return fmean(told)
    hits, asked = (
        sum(values.get(f"vllm:prefix_cache_{of}_total", ())) for of in ("hits", "queries")
    )
    return hits / asked if asked else None
