"""App: plays a ledger's steps as HTTP answers. Owns no thread and no socket."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, assert_never

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from . import wire
from .ledger import Ledger, Recorded
from .steps import BreakStream, Drop, Fail, Hang, Raw, Say, Step

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


def fake_app(ledger: Ledger) -> Starlette:
    """The server's routes. Its requests need ``state.transport``, to break a connection."""

    async def models(_: Request) -> Response:
        return JSONResponse(wire.models(ledger.models()))

    async def metrics(_: Request) -> Response:
        return Response(wire.metrics(ledger.loads()), headers={"content-type": PROMETHEUS})

    async def health(_: Request) -> Response:
        return PlainTextResponse("")

    return Starlette(
        routes=[
            Route("/v1/chat/completions", _Chat(ledger), methods=["POST"]),
            Route("/v1/models", models),
            Route("/metrics", metrics),
            Route("/health", health),
        ]
    )


class _Chat:
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            content = await request.body()
        except ClientDisconnect:
            return
        body: Any = None
        model: object = None
        with suppress(ValueError, KeyError, TypeError):
            body = json.loads(content)
            model = body["model"]
        if not isinstance(model, str):
            answer = wire.error("The request body must be a JSON object with a model name.")
            await JSONResponse(answer, 400)(scope, receive, send)
            return
        call = Recorded(model, body, dict(request.headers), time.monotonic())
        with self._ledger.serving(call) as number:
            step = self._ledger.next_step(model, body) or _unknown(model)
            await _Exchange(body, number, scope, receive, send).play(step)


@dataclass(frozen=True)
class _Exchange:
    """One request and the means to answer it."""

    body: dict[str, Any]
    number: int
    scope: Scope
    receive: Receive
    send: Send

    async def play(self, step: Step) -> None:
        match step:
            case Say():
                await self._say(step)
            case Fail():
                headers = dict(step.headers)
                if step.retry_after_s is not None:
                    headers["retry-after"] = f"{step.retry_after_s:g}"
                answer = wire.error(step.message, kind=step.type, code=step.code)
                await self._respond(JSONResponse(answer, step.status, headers))
            case Raw():
                headers = {"content-type": step.content_type}
                await self._respond(Response(step.body, step.status, headers))
            case Hang():
                if await self._pause(step.seconds):
                    await self._break()
            case Drop():
                await self._break()
            case BreakStream():
                await self._break_stream(step)
            case _:
                assert_never(step)

    async def _say(self, say: Say) -> None:
        if not await self._pause(say.delay_s):
            return
        if self.body.get("stream") is not True:
            await self._respond(JSONResponse(wire.completion(say, self.body, self.number)))
            return
        await self._start("text/event-stream; charset=utf-8")
        for place, chunk in enumerate(wire.opening_chunks(say, self.body, self.number)):
            if place and not await self._pause(say.chunk_delay_s):
                return
            await self._send_event(json.dumps(chunk))
        for chunk in wire.closing_chunks(say, self.body, self.number):
            await self._send_event(json.dumps(chunk))
        await self._send_event("[DONE]", last=True)

    async def _break_stream(self, step: BreakStream) -> None:
        say = Say(step.text)
        if self.body.get("stream") is True:
            await self._start("text/event-stream; charset=utf-8")
            chunks = wire.opening_chunks(say, self.body, self.number)
            for chunk in islice(chunks, 1 + step.after_chunks):
                await self._send_event(json.dumps(chunk))
        else:
            whole = json.dumps(wire.completion(say, self.body, self.number)).encode()
            await self._start("application/json", length=len(whole))
            await self._send_body(whole[: len(whole) // 2])
        await self._break()

    async def _respond(self, response: Response) -> None:
        await response(self.scope, self.receive, self.send)

    async def _start(self, content_type: str, length: int | None = None) -> None:
        headers = [(b"content-type", content_type.encode())]
        if length is not None:
            headers.append((b"content-length", str(length).encode()))
        await self.send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _send_event(self, data: str, *, last: bool = False) -> None:
        await self._send_body(f"data: {data}\n\n".encode(), last=last)

    async def _send_body(self, content: bytes, *, last: bool = False) -> None:
        await self.send({"type": "http.response.body", "body": content, "more_body": not last})

    async def _break(self) -> None:
        transport: asyncio.Transport = self.scope["state"]["transport"]
        transport.close()
        # The server reports an unfinished answer as a fault unless it has seen the disconnection.
        await _disconnected(self.receive)

    async def _pause(self, seconds: float) -> bool:
        """Let ``seconds`` pass. False, and at once, when the connection is gone before that."""
        if seconds <= 0:
            return True
        try:
            async with asyncio.timeout(seconds):
                await _disconnected(self.receive)
        except TimeoutError:
            return True
        return False


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _unknown(model: str) -> Fail:
    return Fail(
        404,
        f"The model {model!r} does not exist. Give it a script first.",
        code="model_not_found",
        type="invalid_request_error",
    )
