"""Load client: one chat request to an engine, streamed, and when each piece of it came.

It speaks to the engine directly: what stands between, such as a retry, would be measured, too.
"""

import json
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import httpx

from ...errors import EngineUnreadableError
from ...pools import KEEPALIVE_S
from ...settings import shown_url
from .counters import Counters, counters_in


@dataclass(frozen=True, slots=True)
class Timed:
    """One request. Times in seconds, on the client's clock from when it was sent.

    `gaps_s`: between pieces of the reply; a speculating engine sends several tokens in one.
    `token_ids`: None where the engine tells none: vLLM tells them, llama.cpp where the request has
    `logprobs`. `cached_tokens`: of the prompt, None where that is not told. `error`: why there is
    no whole reply, without any of its text; None for one that is whole.
    """

    ttft_s: float
    total_s: float
    gaps_s: tuple[float, ...]
    text: str
    token_ids: tuple[int, ...] | None
    input_tokens: int
    output_tokens: int
    cached_tokens: int | None
    finish_reason: str | None
    error: str | None = None


@dataclass(slots=True)
class _Stream:
    """What has come of one reply."""

    started: float
    at: list[float] = field(default_factory=list[float])
    text: list[str] = field(default_factory=list[str])
    token_ids: list[int] = field(default_factory=list[int])
    usage: Mapping[str, Any] | None = None
    finish_reason: str | None = None

    def take(self, piece: Mapping[str, Any], now: float) -> bool:
        """Take what came; whether it is a piece of the reply."""
        before = len(self.at)
        self.usage = piece.get("usage") or self.usage
        for choice in piece.get("choices", ()):
            said: Mapping[str, Any] = choice.get("delta") or {}
            text = said.get("content") or said.get("reasoning_content") or ""
            tokens = choice.get("token_ids") or _ids_of(choice.get("logprobs"))
            if text or tokens:
                self.at.append(now)
            self.text.append(text)
            self.token_ids.extend(tokens)
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
        return len(self.at) > before

    def timed(self, now: float, error: str | None) -> Timed:
        usage = self.usage or {}
        details: Mapping[str, Any] = usage.get("prompt_tokens_details") or {}
        pairs = zip(self.at, self.at[1:], strict=False)
        return Timed(
            ttft_s=(self.at[0] if self.at else now) - self.started,
            total_s=now - self.started,
            gaps_s=tuple(later - earlier for earlier, later in pairs),
            text="".join(self.text),
            token_ids=tuple(self.token_ids) if self.token_ids else None,
            input_tokens=usage.get("prompt_tokens", 0),
            output_tokens=usage.get("completion_tokens", 0) or len(self.at),
            cached_tokens=details.get("cached_tokens"),
            finish_reason=self.finish_reason,
            error=error,
        )


def _ids_of(logprobs: Mapping[str, Any] | None) -> list[int]:
    told: Sequence[Mapping[str, Any]] = (logprobs or {}).get("content") or ()
    return [each["id"] for each in told if "id" in each]


@dataclass(frozen=True, slots=True)
class LoadClient:
    """Asks one engine. Made by `connected`. `setup`: what the engine says of itself.

    `clock`: monotonic seconds.
    """

    api_base: str
    model: str
    setup: str
    http: httpx.AsyncClient
    tells_tokens: bool = False
    clock: Callable[[], float] = time.perf_counter

    @staticmethod
    @asynccontextmanager
    async def connected(
        api_base: str,
        *,
        model: str | None = None,
        api_key: str | None = None,
        timeout_s: float = 600.0,
    ) -> "AsyncGenerator[LoadClient]":
        """Give a client of the engine at an `api_base`. Raises EngineUnreadableError.

        `model`: None for the first that the engine lists. `timeout_s`: for each piece.
        """
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        limits = httpx.Limits(
            max_connections=None, max_keepalive_connections=None, keepalive_expiry=KEEPALIVE_S
        )
        try:
            shown = shown_url(api_base)
            http = httpx.AsyncClient(
                base_url=api_base,
                headers=headers,
                timeout=timeout_s,
                limits=limits,
                trust_env=False,
            )
        except (httpx.InvalidURL, ValueError) as exc:
            raise EngineUnreadableError(
                "The engine's api_base is no URL. Write it like http://10.0.0.5:8000/v1."
            ) from exc
        async with http:
            try:
                chosen, owner = await _model(http, model)
            except (httpx.HTTPError, ValueError, KeyError, TypeError) as exc:
                raise EngineUnreadableError(
                    f"{shown} does not say which model it serves ({_why(exc)}). Is the engine up, "
                    "and does the address end in /v1?"
                ) from exc
            setup = " ".join(filter(None, (owner, await _version(http), chosen)))
            yield LoadClient(api_base, chosen, setup, http, tells_tokens=owner == "vllm")

    async def ask(
        self, body: Mapping[str, Any], heard: Callable[[float], None] = lambda _: None
    ) -> Timed:
        """Send one chat request, of anything but `model` and `stream`, and time its reply.

        `heard` is told when each piece of the reply comes, on this client's clock. What fails is
        told in the result: a load goes on when one of its requests does not.
        """
        whole: dict[str, Any] = {
            **body,
            "model": self.model,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if self.tells_tokens:
            whole["return_token_ids"] = True
        stream, error = _Stream(self.clock()), None
        try:
            async with self.http.stream("POST", "chat/completions", json=whole) as response:
                if not response.is_success:
                    error = f"HTTP {response.status_code}"
                async for line in response.aiter_lines():
                    if line.startswith("data:") and line[5:].strip() != "[DONE]" and error is None:
                        piece = json.loads(line[5:])
                        # vLLM tells in the stream what failed after it began.
                        error = "the engine failed in its midst" if "error" in piece else None
                        now = self.clock()
                        if stream.take(piece, now):
                            heard(now)
        except (httpx.HTTPError, ValueError, TypeError, AttributeError) as exc:
            # What is no JSON, or JSON of another form, is a failed request like any other.
            error = type(exc).__name__
        if error is None and stream.finish_reason is None:
            error = "the stream broke off"
        return stream.timed(self.clock(), error)

    async def counters(self) -> Counters:
        """Return what the engine has counted so far. Raises EngineUnreadableError."""
        url = _beside(self.http, "/metrics")
        try:
            page = (await self.http.get(url)).raise_for_status().text
        except httpx.HTTPError as exc:
            raise EngineUnreadableError(
                f"{shown_url(url)} gave no metrics ({type(exc).__name__}). Is the engine up, and "
                "started with its metrics page?"
            ) from exc
        return counters_in(page, shown_url(url))


async def _model(http: httpx.AsyncClient, wanted: str | None) -> tuple[str, str]:
    """Return a model and who serves it, as the engine's list has it."""
    page = await http.get("models")
    if wanted is not None and not page.is_success:
        # `transformers serve` has no list where nothing was ever downloaded.
        return wanted, ""
    listed = {str(each["id"]): each for each in page.raise_for_status().json()["data"]}
    if wanted is None and not listed:
        # `transformers serve` lists what was downloaded, which a folder was not.
        shown = shown_url(str(http.base_url)).rstrip("/")
        raise EngineUnreadableError(
            f"{shown} lists no model. Name it in a deployment of its pool, "
            '{ model = "hosted_vllm/NAME", pool = "POOL" }, and ask the pool.'
        )
    chosen = next(iter(listed)) if wanted is None else wanted
    return chosen, str(listed.get(chosen, {}).get("owned_by", ""))


def _why(exc: Exception) -> str:
    if isinstance(exc, httpx.HTTPStatusError):
        return f"HTTP {exc.response.status_code}"
    return type(exc).__name__


async def _version(http: httpx.AsyncClient) -> str:
    """Return an engine's version; empty where it tells none, as most do."""
    try:
        told: object = (await http.get(_beside(http, "/version"))).raise_for_status().json()
    except (httpx.HTTPError, ValueError):
        return ""
    return str(cast("dict[str, object]", told).get("version", "")) if isinstance(told, dict) else ""


def _beside(http: httpx.AsyncClient, path: str) -> str:
    return str(http.base_url.copy_with(path=path))
