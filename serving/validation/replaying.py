"""Replaying: recorded requests as an engine is asked them again, at temperature 0."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...cassette import RecordedRequest
from ...errors import EngineUnreadableError
from ...settings import shown_url
from ..load import Counters, LoadClient, Timed, closed_loop
from .measured import Block, Served

_MS = 1000.0


@dataclass(frozen=True, slots=True)
class Replaying:
    """An Endpoint that asks a real engine. `params`: further options of each request."""

    client: LoadClient
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])

    async def serve(self, requests: Sequence[RecordedRequest], concurrency: int) -> Block:
        """Have requests served, so many at a time. Raises EngineUnreadableError for any failure."""
        bodies = [{**self.params, **body_of(each)} for each in requests]
        asked = await closed_loop(self.client.ask, bodies, concurrency)
        if asked.failed:
            failed = f"{len(asked.failed)} of {len(asked.timed)} requests ({asked.failed[0]})"
            raise EngineUnreadableError(
                f"{shown_url(self.client.api_base)} failed {failed}. Nothing is decided by an "
                "engine that fails; see its log."
            )
        return Block(_MS * asked.wall_s, tuple(map(_served, asked.timed)))

    async def counted(self) -> Counters | None:
        """Return what the engine has counted so far; None if it tells nothing."""
        try:
            return await self.client.counters()
        except EngineUnreadableError:
            # Not every engine has such a page, and what it would say decides nothing.
            return None


def body_of(request: RecordedRequest) -> Mapping[str, Any]:
    """Return the chat request to send: the recorded one, with no more output than it had."""
    body: dict[str, Any] = {
        **request.options,
        "messages": list(request.messages),
        "temperature": 0,
        "max_tokens": max(1, request.output_tokens),
    }
    if request.reply_schema is not None:
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "result", "schema": request.reply_schema},
        }
    return body


def _served(timed: Timed) -> Served:
    return Served(
        ttft_ms=_MS * timed.ttft_s,
        total_ms=_MS * timed.total_s,
        gaps_ms=tuple(_MS * gap for gap in timed.gaps_s),
        output_tokens=timed.output_tokens,
        said=timed.text if timed.token_ids is None else timed.token_ids,
    )
