"""Dialects: the JSON of Anthropic's and Gemini's APIs beside OpenAI's. Pure, no I/O."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from . import wire
from .billing import Charge
from .steps import Say
from .wire import Json

Event = tuple[str | None, Json]
"""Name and data of one server-sent event."""


@dataclass(frozen=True)
class Dialect:
    """How one API writes a whole answer, a stream's opening (a text each) and its closing.

    lines: a stream is JSON lines, not server-sent events.
    """

    whole: Callable[[Say, Json, int, Charge | None], Json]
    opening: Callable[[Say, Json, int, Charge | None], Iterator[Event]]
    closing: Callable[[Say, Json, int, Charge | None], Iterator[Event]]
    last_event: str | None = None
    lines: bool = False


def _openai_usage(answer: Json, charge: Charge | None) -> Json:
    usage = answer.get("usage")
    if charge is None or not usage:
        return answer
    spent: Json = {
        **usage,
        "prompt_tokens": charge.total,
        "total_tokens": charge.total + usage["completion_tokens"],
        "prompt_tokens_details": {
            "cached_tokens": charge.read,
            "cache_write_tokens": charge.write,
        },
    }
    return {**answer, "usage": spent}


def _openai_whole(say: Say, body: Json, number: int, charge: Charge | None) -> Json:
    return _openai_usage(wire.completion(say, body, number), charge)


def _openai_opening(say: Say, body: Json, number: int, _: Charge | None) -> Iterator[Event]:
    for chunk in wire.opening_chunks(say, body, number):
        yield None, chunk


def _openai_closing(say: Say, body: Json, number: int, charge: Charge | None) -> Iterator[Event]:
    for chunk in wire.closing_chunks(say, body, number):
        yield None, _openai_usage(chunk, charge)


OPENAI = Dialect(_openai_whole, _openai_opening, _openai_closing, "[DONE]")


def _scripted(say: Say, plain: Json) -> Charge:
    read, write, write_1h = say.cached_tokens, say.written_tokens, say.written_1h_tokens
    fresh = plain["prompt_tokens"] - read - write - write_1h
    return Charge("", fresh, read, write, write_1h)


_STOP = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal"}


def _anthropic_usage(say: Say, body: Json, charge: Charge | None) -> Json:
    plain = wire.usage(say, body)
    charge = charge or _scripted(say, plain)
    return {
        "input_tokens": charge.fresh,
        "cache_read_input_tokens": charge.read,
        "cache_creation_input_tokens": charge.write + charge.write_1h,
        "cache_creation": {
            "ephemeral_5m_input_tokens": charge.write,
            "ephemeral_1h_input_tokens": charge.write_1h,
        },
        "output_tokens": plain["completion_tokens"],
        "output_tokens_details": {"thinking_tokens": say.reasoning_tokens},
    }


def _anthropic_whole(say: Say, body: Json, number: int, charge: Charge | None) -> Json:
    return {
        "id": f"msg_fake_{number:06d}",
        "type": "message",
        "role": "assistant",
        "model": say.response_model or body["model"],
        "content": [{"type": "text", "text": wire.text_of(say)}],
        "stop_reason": _STOP.get(say.finish_reason, say.finish_reason),
        "stop_sequence": None,
        "usage": _anthropic_usage(say, body, charge),
    }


def _anthropic_opening(say: Say, body: Json, number: int, charge: Charge | None) -> Iterator[Event]:
    whole = _anthropic_whole(say, body, number, charge)
    # What is read and written is known by then; of the reply there is a token or two.
    usage = {**whole["usage"], "output_tokens": 1, "output_tokens_details": None}
    started: Json = {**whole, "content": [], "stop_reason": None, "usage": usage}
    yield "message_start", {"type": "message_start", "message": started}
    block: Json = {"type": "text", "text": ""}
    yield (
        "content_block_start",
        {"type": "content_block_start", "index": 0, "content_block": block},
    )
    for word in wire.words_of(say):
        delta: Json = {"type": "text_delta", "text": word}
        yield (
            "content_block_delta",
            {"type": "content_block_delta", "index": 0, "delta": delta},
        )


def _anthropic_closing(say: Say, body: Json, number: int, charge: Charge | None) -> Iterator[Event]:
    whole = _anthropic_whole(say, body, number, charge)
    yield "content_block_stop", {"type": "content_block_stop", "index": 0}
    delta: Json = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    # Totals again, but not how long what was written is kept.
    usage: Json = {**whole["usage"]}
    del usage["cache_creation"]
    yield "message_delta", {"type": "message_delta", "delta": delta, "usage": usage}
    yield "message_stop", {"type": "message_stop"}


ANTHROPIC = Dialect(_anthropic_whole, _anthropic_opening, _anthropic_closing)


def _gemini_usage(say: Say, body: Json, charge: Charge | None) -> Json:
    plain = wire.usage(say, {"messages": body.get("contents")})
    charge = charge or _scripted(say, plain)
    said = plain["completion_tokens"]
    return {
        "promptTokenCount": charge.total,
        "cachedContentTokenCount": charge.read,
        "candidatesTokenCount": said - say.reasoning_tokens,
        "thoughtsTokenCount": say.reasoning_tokens,
        "totalTokenCount": charge.total + said,
    }


def _gemini_answer(body: Json, number: int, text: str, finish_reason: str | None) -> Json:
    candidate: Json = {"index": 0, "content": {"role": "model", "parts": [{"text": text}]}}
    if finish_reason is not None:
        candidate["finishReason"] = finish_reason
    return {
        "candidates": [candidate],
        "modelVersion": body["model"],
        "responseId": f"fake-{number:06d}",
    }


_FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}


def _gemini_whole(say: Say, body: Json, number: int, charge: Charge | None) -> Json:
    answer = _gemini_answer(body, number, wire.text_of(say), _FINISH[say.finish_reason])
    return {**answer, "usageMetadata": _gemini_usage(say, body, charge)}


def _gemini_opening(say: Say, body: Json, number: int, charge: Charge | None) -> Iterator[Event]:
    # Each chunk says what was used by then.
    so_far = {**_gemini_usage(say, body, charge), "candidatesTokenCount": 0}
    so_far["totalTokenCount"] = so_far["promptTokenCount"] + so_far["thoughtsTokenCount"]
    for word in wire.words_of(say):
        yield None, {**_gemini_answer(body, number, word, None), "usageMetadata": so_far}


def _gemini_closing(say: Say, body: Json, number: int, charge: Charge | None) -> Iterator[Event]:
    answer = _gemini_answer(body, number, "", _FINISH[say.finish_reason])
    yield None, {**answer, "usageMetadata": _gemini_usage(say, body, charge)}


GEMINI = Dialect(_gemini_whole, _gemini_opening, _gemini_closing)


def event(name: str | None, data: Json | str, *, lines: bool = False) -> str:
    """One server-sent event as it is written, or one line."""
    text = data if isinstance(data, str) else json.dumps(data)
    if lines:
        return f"{text}\n"
    return f"event: {name}\ndata: {text}\n\n" if name else f"data: {text}\n\n"
