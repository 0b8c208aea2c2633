"""Provider: litellm's four ways to call a model, over one answer. For `local/` and `replay/`.

Knows litellm's forms; how an answer comes about is the subclass's.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from litellm.llms.custom_llm import CustomLLM
from litellm.types.utils import (
    ChatCompletionTokenLogprob,
    ChoiceLogprobs,
    Delta,
    ModelResponseStream,
    StreamingChoices,
    Usage,
)

_WORDS = re.compile(r"\s*\S+\s*|\s+")


@dataclass(frozen=True, slots=True)
class Call:
    """One call as litellm hands it over. `options`: of the chat request, by their names there."""

    model: str
    messages: Sequence[Mapping[str, Any]]
    options: Mapping[str, Any]
    item: str | None

    @property
    def schema(self) -> Mapping[str, Any] | None:
        """The JSON schema that the reply must fit, None for text."""
        wanted = self.options.get("response_format")
        if not isinstance(wanted, dict):
            return None
        described: dict[str, Any] = cast("dict[str, Any]", wanted).get("json_schema", {})
        return described.get("schema")


@dataclass(frozen=True, slots=True)
class Said:
    """An answer. `logprobs`: pairs of a token and the natural logarithm of its probability."""

    text: str
    input_tokens: int
    output_tokens: int
    logprobs: tuple[tuple[str, float], ...] = ()


def text_of(message: Mapping[str, Any]) -> str:
    """Return the text of a chat message, whether it stands as it is or in parts."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text", "") for part in content if part.get("type") == "text")


def call_of(given: Mapping[str, Any]) -> Call:
    """Return the call in the keywords that litellm passes to a custom provider."""
    # A user's metadata comes in litellm's own options, not in those of the request.
    own: dict[str, Any] = given.get("litellm_params") or {}
    metadata: dict[str, Any] = own.get("metadata") or {}
    item = metadata.get("item")
    return Call(
        model=given["model"],
        messages=given["messages"],
        options=given.get("optional_params") or {},
        item=None if item is None else str(item),
    )


def generic_chunk(text: str, *, finish_reason: str = "", usage: Any = None) -> dict[str, Any]:
    """Return litellm's GenericStreamingChunk; the last of a stream has the finish reason."""
    return {
        "text": text,
        "tool_use": None,
        "is_finished": bool(finish_reason),
        "finish_reason": finish_reason,
        "usage": usage,
        "index": 0,
    }


class Provider(CustomLLM):  # type: ignore[misc]  # litellm is Any to mypy
    """Answers calls by `answer`, whole or in chunks of a word. Thread-safe if that is."""

    def answer(self, call: Call) -> Said:
        """Return the answer; may block. What it raises reaches the caller."""
        raise NotImplementedError

    def completion(self, *_args: Any, **given: Any) -> Any:
        """Answer in one piece."""
        return _response(given, self.answer(call_of(given)))

    async def acompletion(self, *_args: Any, **given: Any) -> Any:
        """Answer in one piece, from a thread."""
        return _response(given, await asyncio.to_thread(self.answer, call_of(given)))

    def streaming(self, *_args: Any, **given: Any) -> Iterator[Any]:
        """Answer in chunks."""
        yield from _chunks(given, self.answer(call_of(given)))

    # litellm declares a coroutine here, and iterates what it gets without awaiting it.
    async def astreaming(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, *_args: Any, **given: Any
    ) -> AsyncIterator[Any]:
        """Answer in chunks, from a thread."""
        for chunk in _chunks(given, await asyncio.to_thread(self.answer, call_of(given))):
            yield chunk


def _response(given: Mapping[str, Any], said: Said) -> Any:
    response = given["model_response"]
    response.model = given["model"]
    choice = response.choices[0]
    choice.finish_reason = "stop"
    choice.message.content = said.text
    if logprobs := _logprobs(given, said):
        choice.logprobs = logprobs
    counts: dict[str, Any] = _usage(said)
    response.usage = Usage(**counts)
    return response


def _chunks(given: Mapping[str, Any], said: Said) -> Iterator[Any]:
    """Yield one chunk per word, then the end with the usage."""
    words: list[str] = _WORDS.findall(said.text)
    if logprobs := _logprobs(given, said):
        # A generic chunk has no place for logprobs, so the first word goes in litellm's own form.
        delta = Delta(content=words.pop(0) if words else "")
        yield ModelResponseStream(
            model=given["model"], choices=[StreamingChoices(delta=delta, logprobs=logprobs)]
        )
    for word in words:
        yield generic_chunk(word)
    yield generic_chunk("", finish_reason="stop", usage=_usage(said))


def _usage(said: Said) -> dict[str, int]:
    return {
        "prompt_tokens": said.input_tokens,
        "completion_tokens": said.output_tokens,
        "total_tokens": said.input_tokens + said.output_tokens,
    }


def _logprobs(given: Mapping[str, Any], said: Said) -> ChoiceLogprobs | None:
    if not said.logprobs or not call_of(given).options.get("logprobs"):
        return None
    tokens = [
        ChatCompletionTokenLogprob(token=token, logprob=logprob, top_logprobs=[])
        for token, logprob in said.logprobs
    ]
    return ChoiceLogprobs(content=tokens)
