"""Token ids: what an engine makes of a request, asked of its own tokenizer. Decides nothing."""

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit

from ..errors import EngineUnreadableError
from ..pools import KEEPALIVE_S
from ..request import Message
from ..settings import shown_url

_READ = (
    "add_special_tokens",
    "chat_template",
    "chat_template_kwargs",
    "media_io_kwargs",
    "mm_processor_kwargs",
    "tools",
)
"""Options of a chat request that decide what is read (vLLM 0.32, `TokenizeChatRequest`)."""


def read_options(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a deployment's `params` that decide what its engine reads, by name."""
    extra: Mapping[str, Any] = params.get("extra_body") or {}
    sent = {**params, **extra}
    return {name: sent[name] for name in _READ if sent.get(name) is not None}


class TokenSource(Protocol):
    """Where the token ids of a request come from."""

    def token_ids(
        self,
        api_base: str,
        model: str,
        messages: Sequence[Message],
        *,
        replies: bool,
        options: Mapping[str, Any],
    ) -> Sequence[int]:
        """Return what the engine reads for these messages. Raises EngineUnreadableError.

        `replies`: whether the engine's reply comes next, and not a further message. `options`: see
        `read_options`.
        """
        ...

    def close(self) -> None:
        """Close what is open; the next call opens it again."""
        ...


class TokenizePage:
    """A TokenSource that asks `/tokenize` of vLLM and of SGLang. `timeout_s`: for the answer.

    Thread-safe, over connections that are kept.
    """

    def __init__(self, timeout_s: float = 2.0) -> None:
        self._timeout_s = timeout_s
        self._client: Any = None
        self._lock = Lock()

    def token_ids(
        self,
        api_base: str,
        model: str,
        messages: Sequence[Message],
        *,
        replies: bool,
        options: Mapping[str, Any],
    ) -> Sequence[int]:
        """Return what the engine reads for these messages. Raises EngineUnreadableError."""
        import httpx  # noqa: PLC0415  # comes with litellm; only for those who ask

        parts = urlsplit(api_base)
        url = urlunsplit((parts.scheme, parts.netloc, "/tokenize", "", ""))
        asked = {
            "model": model,
            "messages": list(messages),
            "add_generation_prompt": replies,
            **options,
        }
        try:
            answer: Any = self._connected().post(url, json=asked).raise_for_status()
            return [int(each) for each in answer.json()["tokens"]]
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, LookupError, TypeError) as exc:
            raise EngineUnreadableError(
                f"{shown_url(url)} gave no token ids ({type(exc).__name__}). Precise affinity "
                'needs an engine with that page; take affinity = "approximate" for others.'
            ) from exc

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _connected(self) -> Any:
        import httpx  # noqa: PLC0415  # loaded by now

        with self._lock:
            if self._client is None:
                limits = httpx.Limits(keepalive_expiry=KEEPALIVE_S)
                self._client = httpx.Client(timeout=self._timeout_s, limits=limits)
            return self._client
