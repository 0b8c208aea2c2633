"""Token ids: what an engine makes of a request, asked of its own tokenizer. Decides nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit

from ..errors import EngineUnreadableError
from ..request import Message
from ..settings import shown_url


class TokenSource(Protocol):
    """Where the token ids of a request come from."""

    def token_ids(
        self, api_base: str, model: str, messages: Sequence[Message], *, replies: bool
    ) -> Sequence[int]:
        """Return what the engine reads for these messages. Raises EngineUnreadableError.

        `replies`: whether the engine's reply comes next, and not a further message.
        """
        ...


@dataclass(frozen=True, slots=True)
class TokenizePage:
    """A TokenSource that asks `/tokenize` of vLLM and of SGLang. `timeout_s`: for the answer."""

    timeout_s: float = 2.0

    def token_ids(
        self, api_base: str, model: str, messages: Sequence[Message], *, replies: bool
    ) -> Sequence[int]:
        """Return what the engine reads for these messages. Raises EngineUnreadableError."""
        import httpx  # noqa: PLC0415  # comes with litellm; only for those who ask

        parts = urlsplit(api_base)
        url = urlunsplit((parts.scheme, parts.netloc, "/tokenize", "", ""))
        asked = {"model": model, "messages": list(messages), "add_generation_prompt": replies}
        try:
            answer: Any = httpx.post(url, json=asked, timeout=self.timeout_s).raise_for_status()
            return [int(each) for each in answer.json()["tokens"]]
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, LookupError, TypeError) as exc:
            raise EngineUnreadableError(
                f"{shown_url(url)} gave no token ids ({type(exc).__name__}). Precise affinity "
                'needs an engine with that page; take affinity = "approximate" for others.'
            ) from exc
