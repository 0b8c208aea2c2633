"""Record: `record/<litellm model>` asks that model and keeps what it says for `replay/`.

The inner model's response passes through as it is. What is kept is the answer, never the prompt.
"""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import Any

import litellm
from litellm.llms.custom_llm import CustomLLM

from ..models.provider import call_of, generic_chunk
from ..models.replay import recordings_file, request_key
from .received import Received, Stream, whole

_PASSED_ON = ("messages", "timeout", "api_base", "api_key", "client")


class Recorder(CustomLLM):  # type: ignore[misc]  # litellm is Any to mypy
    """litellm's custom provider `record`. Appends one row per answer. Thread-safe.

    Raises ConfigError without a folder for recordings, before the model is asked.
    """

    def __init__(self) -> None:
        super().__init__()
        self._writing = Lock()

    def completion(self, *_args: Any, **given: Any) -> Any:
        """Ask for the answer in one piece."""
        path = recordings_file(given["model"])
        response = litellm.completion(**_inner(given))
        self._append(path, _row(given, whole(response, given["model"])))
        return response

    async def acompletion(self, *_args: Any, **given: Any) -> Any:
        """Ask for the answer in one piece without holding up the event loop."""
        path = recordings_file(given["model"])
        response = await litellm.acompletion(**_inner(given))
        row = _row(given, whole(response, given["model"]))
        await asyncio.to_thread(self._append, path, row)
        return response

    def streaming(self, *_args: Any, **given: Any) -> Iterator[Any]:
        """Ask for the answer in chunks; a stream that breaks off leaves no row."""
        path, stream = recordings_file(given["model"]), _stream()
        source: Any = litellm.completion(**_inner(given))
        for chunk in source:
            stream.add(chunk)
            if not _ends(chunk):
                yield chunk
        received = stream.received(given["model"], source)
        self._append(path, _row(given, received))
        yield _end(received)

    # litellm declares a coroutine here, and iterates what it gets without awaiting it.
    async def astreaming(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, *_args: Any, **given: Any
    ) -> AsyncIterator[Any]:
        """Ask for the answer in chunks without holding up the event loop."""
        path, stream = recordings_file(given["model"]), _stream()
        source: Any = await litellm.acompletion(**_inner(given))
        async for chunk in source:
            stream.add(chunk)
            if not _ends(chunk):
                yield chunk
        received = stream.received(given["model"], source)
        await asyncio.to_thread(self._append, path, _row(given, received))
        yield _end(received)

    def _append(self, path: Path, row: Mapping[str, Any]) -> None:
        line = json.dumps(row, ensure_ascii=False) + "\n"
        with self._writing:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: one write per row, so that rows of several processes do not mix.
            with path.open("ab", buffering=0) as file:
                file.write(line.encode())


def _inner(given: Mapping[str, Any]) -> dict[str, Any]:
    call = call_of(given)
    passed_on = {name: given[name] for name in _PASSED_ON if given.get(name) is not None}
    item = {} if call.item is None else {"metadata": {"item": call.item}}
    return {"model": call.model, "num_retries": 0, **passed_on, **item, **call.options}


def _stream() -> Stream:
    return Stream(clock=lambda: 0.0, started=0.0, on_text=lambda _text: None)


def _ends(chunk: Any) -> bool:
    return not chunk.choices or bool(chunk.choices[0].finish_reason or getattr(chunk, "usage", 0))


def _end(received: Received) -> dict[str, Any]:
    # litellm drops the usage of a stream in its own form, and makes one up.
    usage = received.usage and received.usage.model_dump(exclude_none=True)
    return generic_chunk("", finish_reason=received.finish_reason or "stop", usage=usage)


def _row(given: Mapping[str, Any], received: Received) -> dict[str, Any]:
    call = call_of(given)
    row: dict[str, Any] = {
        "key": request_key(call.messages, call.options.get("response_format")),
        "text": received.text,
    }
    if call.item is not None:
        row["id"] = call.item
    if received.usage is not None:
        row["input_tokens"] = received.usage.prompt_tokens
        row["output_tokens"] = received.usage.completion_tokens
    if received.confidence:
        row["logprob"] = math.log(received.confidence)
    return row
