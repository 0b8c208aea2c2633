"""Engines: how others than the big three write usage, each in an API of its own or like OpenAI's.

Pure, no I/O. Their makers' API references say so; none of it is read from the product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from . import wire
from .billing import Charge
from .dialects import OPENAI, Dialect, Event
from .steps import Say
from .wire import Json

_Rewrite = Callable[[Json], Json]
"""OpenAI's usage in another's words."""


def _vllm(usage: Json) -> Json:
    read = usage["prompt_tokens_details"]["cached_tokens"]
    # Without --enable-prompt-tokens-details there are none; reasoning is never counted apart.
    details = {"cached_tokens": read} if read else None
    plain = {name: usage[name] for name in ("prompt_tokens", "total_tokens", "completion_tokens")}
    return plain | {"prompt_tokens_details": details}


def _deepseek(usage: Json) -> Json:
    read = usage["prompt_tokens_details"]["cached_tokens"]
    hits: Json = {
        "prompt_cache_hit_tokens": read,
        "prompt_cache_miss_tokens": usage["prompt_tokens"] - read,
    }
    return {name: value for name, value in usage.items() if name != "prompt_tokens_details"} | hits


def _xai(usage: Json) -> Json:
    # The only one whose completion_tokens leave the reasoning out; total_tokens has it.
    thought = usage["completion_tokens_details"]["reasoning_tokens"]
    return usage | {"completion_tokens": usage["completion_tokens"] - thought}


def _moonshot(usage: Json) -> Json:
    plain = {name: usage[name] for name in ("prompt_tokens", "total_tokens", "completion_tokens")}
    return plain | {"cached_tokens": usage["prompt_tokens_details"]["cached_tokens"]}


def _apart(usage: Json) -> Json:
    """What some gateways make of Anthropic's: OpenAI's names, and the parts not in the whole."""
    details = usage["prompt_tokens_details"]
    cached = details["cached_tokens"] + details.get("cache_write_tokens", 0)
    return usage | {"prompt_tokens": usage["prompt_tokens"] - cached}


def _rewritten(rewrite: _Rewrite, answer: Json) -> Json:
    usage = answer.get("usage")
    return {**answer, "usage": rewrite(usage)} if usage else answer


def _like_openai(rewrite: _Rewrite) -> Dialect:
    def whole(say: Say, body: Json, number: int, charge: Charge | None) -> Json:
        return _rewritten(rewrite, OPENAI.whole(say, body, number, charge))

    def closing(say: Say, body: Json, number: int, charge: Charge | None) -> Iterator[Event]:
        for name, chunk in OPENAI.closing(say, body, number, charge):
            yield name, _rewritten(rewrite, chunk)

    return Dialect(whole, OPENAI.opening, closing, OPENAI.last_event)


def _ollama_answer(say: Say, body: Json, text: str, *, done: bool) -> Json:
    plain = wire.usage(say, body)
    answer: Json = {
        "model": body["model"],
        "created_at": "2026-01-01T00:00:00Z",
        "message": {"role": "assistant", "content": text},
        "done": done,
    }
    if done:
        answer["done_reason"] = say.finish_reason
    if done and say.usage:
        counts = {
            "prompt_eval_count": plain["prompt_tokens"],
            "eval_count": plain["completion_tokens"],
        }
        answer |= counts
    return answer


def _ollama_whole(say: Say, body: Json, _number: int, _: Charge | None) -> Json:
    return _ollama_answer(say, body, wire.text_of(say), done=True)


def _ollama_opening(say: Say, body: Json, _number: int, _: Charge | None) -> Iterator[Event]:
    for word in wire.words_of(say):
        yield None, _ollama_answer(say, body, word, done=False)


def _ollama_closing(say: Say, body: Json, _number: int, _: Charge | None) -> Iterator[Event]:
    yield None, _ollama_answer(say, body, "", done=True)


OLLAMA = Dialect(_ollama_whole, _ollama_opening, _ollama_closing, lines=True)

LIKE_OPENAI = {
    "vllm": _like_openai(_vllm),
    "deepseek": _like_openai(_deepseek),
    "xai": _like_openai(_xai),
    "moonshot": _like_openai(_moonshot),
    "apart": _like_openai(_apart),
}
"""By the first part of the path of an API base: ``root_url/xai/v1``."""
