"""Wire: the JSON of OpenAI's chat-completions API and vLLM's metrics text. Pure, no I/O."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any, TypeAlias, cast

from pydantic_core import to_json

from .steps import Say

Json: TypeAlias = dict[str, Any]
FINGERPRINT = "fp_fake"


@dataclass(frozen=True)
class Load:
    """What one engine reports on ``/metrics``; ``kv_cache_usage`` is a share from 0 to 1.

    ``hits``, ``queries``: tokens of prompts that were cached, and all of them.
    """

    running: int = 0
    waiting: int = 0
    kv_cache_usage: float = 0.0
    model: str = "fake"
    engine: str = "0"
    hits: int = 0
    queries: int = 0


def error(
    message: str,
    *,
    kind: str | None = "invalid_request_error",
    code: str | None = None,
) -> Json:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def completion(say: Say, body: Json, number: int) -> Json:
    """The whole answer to a request that did not ask for a stream."""
    choice: Json = {
        "index": 0,
        "message": {"role": "assistant", "content": text_of(say), "refusal": None},
        "logprobs": None,
        "finish_reason": say.finish_reason,
    }
    if _wants_logprobs(say, body):
        choice["logprobs"] = _logprobs(_tokens(say, body))
    envelope = _envelope(say, body, number, "chat.completion")
    told = {"usage": usage(say, body)} if say.usage else {}
    return {**envelope, "choices": [choice], **told}


def opening_chunks(say: Say, body: Json, number: int) -> Iterator[Json]:
    """The chunk that names the role, then one chunk a token."""
    yield _chunk(say, body, number, {"role": "assistant", "content": ""})
    for token in _tokens(say, body):
        logprobs = _logprobs([token]) if _wants_logprobs(say, body) else None
        yield _chunk(say, body, number, {"content": token[0]}, logprobs=logprobs)


def closing_chunks(say: Say, body: Json, number: int) -> Iterator[Json]:
    """The chunk with the finish reason and, for a request that asked, the usage chunk."""
    yield _chunk(say, body, number, {}, finish_reason=say.finish_reason)
    if _wants_usage(body) and say.usage:
        envelope = _envelope(say, body, number, "chat.completion.chunk")
        yield {**envelope, "choices": [], "usage": usage(say, body)}


def usage(say: Say, body: Json) -> Json:
    asked, said = say.input_tokens, say.output_tokens
    prompt = ceil(_characters(body.get("messages")) / 4) if asked is None else asked
    answer = ceil(len(text_of(say)) / 4) if said is None else said
    return {
        "prompt_tokens": prompt,
        "completion_tokens": answer,
        "total_tokens": prompt + answer,
        "prompt_tokens_details": {
            "cached_tokens": say.cached_tokens,
            **({"cache_write_tokens": say.written_tokens} if say.written_tokens else {}),
        },
        "completion_tokens_details": {"reasoning_tokens": say.reasoning_tokens},
    }


def models(names: Iterable[str]) -> Json:
    rows = [{"id": name, "object": "model", "created": 0, "owned_by": "fake"} for name in names]
    return {"object": "list", "data": rows}


def metrics(loads: Iterable[Load]) -> str:
    """Prometheus text with vLLM's names, one line an engine."""
    rows = tuple(loads)
    series = (
        (
            "vllm:num_requests_running",
            "Number of requests in model execution batches.",
            [float(load.running) for load in rows],
        ),
        (
            "vllm:num_requests_waiting",
            "Number of requests waiting to be processed.",
            [float(load.waiting) for load in rows],
        ),
        (
            "vllm:kv_cache_usage_perc",
            "KV-cache usage. 1 means 100 percent usage.",
            [float(load.kv_cache_usage) for load in rows],
        ),
    )
    lines: list[str] = []
    for name, meaning, values in series:
        lines += [f"# HELP {name} {meaning}", f"# TYPE {name} gauge"]
        for load, value in zip(rows, values, strict=True):
            lines.append(f'{name}{{engine="{load.engine}",model_name="{load.model}"}} {value}')
    for what, counts in (
        ("hits", [load.hits for load in rows]),
        ("queries", [load.queries for load in rows]),
    ):
        name = f"vllm:prefix_cache_{what}"
        lines += [f"# HELP {name} Prefix cache {what}, in tokens.", f"# TYPE {name} counter"]
        for load, count in zip(rows, counts, strict=True):
            labels = f'engine="{load.engine}",model_name="{load.model}"'
            lines.append(f"{name}_total{{{labels}}} {float(count)}")
    return "\n".join(lines) + "\n"


def _envelope(say: Say, body: Json, number: int, kind: str) -> Json:
    return {
        "id": f"chatcmpl-fake-{number:06d}",
        "object": kind,
        "created": int(time.time()),
        "model": say.response_model or body.get("model", ""),
        "system_fingerprint": FINGERPRINT,
    }


def _chunk(
    say: Say,
    body: Json,
    number: int,
    delta: Json,
    *,
    logprobs: Json | None = None,
    finish_reason: str | None = None,
) -> Json:
    choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
    chunk = {**_envelope(say, body, number, "chat.completion.chunk"), "choices": [choice]}
    # The real API sends a null usage on every chunk of a stream that will end with a usage chunk.
    return {**chunk, "usage": None} if _wants_usage(body) else chunk


def text_of(say: Say) -> str:
    """The text of an answer; what is no text is dumped as JSON."""
    return say.text if isinstance(say.text, str) else to_json(say.text).decode()


def words_of(say: Say) -> list[str]:
    """The text of an answer in the pieces of a stream."""
    return [word for word, _ in _tokens(say, {})]


def _tokens(say: Say, body: Json) -> list[tuple[str, float]]:
    text, wanted = text_of(say), say.logprobs
    if wanted is None or not _wants_logprobs(say, body):
        return [(word, 0.0) for word in re.findall(r"^\s+|\S+\s*", text)]
    cuts = [place * len(text) // len(wanted) for place in range(len(wanted) + 1)]
    return [(text[cuts[i] : cuts[i + 1]], value) for i, value in enumerate(wanted)]


def _logprobs(tokens: Iterable[tuple[str, float]]) -> Json:
    content = [
        {"token": token, "logprob": value, "bytes": list(token.encode()), "top_logprobs": []}
        for token, value in tokens
    ]
    return {"content": content, "refusal": None}


def _wants_logprobs(say: Say, body: Json) -> bool:
    return bool(say.logprobs) and body.get("logprobs") is True


def _wants_usage(body: Json) -> bool:
    options: object = body.get("stream_options")
    return isinstance(options, dict) and cast(Json, options).get("include_usage") is True


def _characters(content: object) -> int:
    """Characters of text in a message's content, in one part of it, or in a list of either."""
    if isinstance(content, str):
        return len(content)
    if isinstance(content, list):
        return sum(_characters(item) for item in cast(list[object], content))
    if isinstance(content, dict):
        part = cast(Json, content)
        return sum(_characters(part.get(name)) for name in ("content", "parts", "text"))
    return 0
