"""App: plays a ledger's steps as HTTP answers, and bills them. Owns no thread and no socket."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, assert_never

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from . import dialects, engines, wire
from .billing import Billing, Charge
from .dialects import Dialect, Event
from .ledger import Ledger, Recorded
from .steps import BreakStream, Drop, Fail, Hang, Raw, Say, Step

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


def fake_app(
    ledger: Ledger,
    billing: Billing | None = None,
    token_ids: Callable[[wire.Json], list[int]] | None = None,
) -> Starlette:
    """The server's routes. Its requests need ``state.transport``, to break a connection.

    token_ids: of a request, for ``/tokenize``; None for a server without that page.
    """

    async def bill(_: Request) -> Response:
        tallies: wire.Json = {}
        if billing is not None:
            tallies = {name: vars(billing.tally(name)) for name in billing.rules}
        return JSONResponse(tallies)

    async def tokenize(request: Request) -> Response:
        if token_ids is None:
            return JSONResponse(wire.error("Not Found"), 404)
        tokens = token_ids(await request.json())
        return JSONResponse({"count": len(tokens), "max_model_len": 2**20, "tokens": tokens})

    async def models(_: Request) -> Response:
        return JSONResponse(wire.models(ledger.models()))

    async def metrics(_: Request) -> Response:
        if not ledger.loads():
            return JSONResponse(wire.error("Not Found"), 404)
        return Response(wire.metrics(ledger.loads()), headers={"content-type": PROMETHEUS})

    async def health(_: Request) -> Response:
        return PlainTextResponse("")

    return Starlette(
        routes=[
            Route(
                "/v1/chat/completions", _Chat(ledger, billing, dialects.OPENAI), methods=["POST"]
            ),
            Route("/v1/messages", _Chat(ledger, billing, dialects.ANTHROPIC), methods=["POST"]),
            Route("/models/{call}", _Chat(ledger, billing, dialects.GEMINI), methods=["POST"]),
            Route("/api/chat", _Chat(ledger, billing, engines.OLLAMA), methods=["POST"]),
            *(
                Route(f"/{name}/{{rest:path}}", _Chat(ledger, billing, dialect), methods=["POST"])
                for name, dialect in engines.LIKE_OPENAI.items()
            ),
            Route("/bill", bill),
            Route("/v1/models", models),
            Route("/metrics", metrics),
            Route("/tokenize", tokenize, methods=["POST"]),
            Route("/health", health),
            # What other APIs' clients send is recorded too; they get OpenAI's form back.
            Route("/{other:path}", _Chat(ledger, billing, dialects.OPENAI), methods=["POST"]),
        ]
    )


class _Chat:
    def __init__(self, ledger: Ledger, billing: Billing | None, dialect: Dialect) -> None:
        self._ledger = ledger
        self._billing = billing
        self._dialect = dialect

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            content = await request.body()
        except ClientDisconnect:
            return
        body: Any = None
        model: object = None
        with suppress(ValueError, KeyError, TypeError, AttributeError):
            body = json.loads(content)
            if named := request.path_params.get("call"):
                # Gemini names the model, and whether to stream, in the path.
                name, _, method = named.partition(":")
                body |= {"model": name, "stream": method.startswith("stream")}
            model = body.get("model", request.path_params.get("other"))
        if not isinstance(model, str):
            answer = wire.error("The request body must be a JSON object with a model name.")
            await JSONResponse(answer, 400)(scope, receive, send)
            return
        call = Recorded(model, body, dict(request.headers), time.monotonic())
        with self._ledger.serving(call) as number:
            step = self._ledger.next_step(model, body) or _unknown(model)
            # A call that fails is not billed.
            is_billed = self._billing and isinstance(step, Say)
            charge = self._billing.charge(model, body) if self._billing and is_billed else None
            exchange = _Exchange(body, number, scope, receive, send, self._dialect)
            await exchange.play(step, charge, self._billing)


@dataclass(frozen=True)
class _Exchange:
    """One request and the means to answer it."""

    body: dict[str, Any]
    number: int
    scope: Scope
    receive: Receive
    send: Send
    dialect: Dialect

    async def play(self, step: Step, charge: Charge | None, billing: Billing | None) -> None:
        match step:
            case Say():
                await self._say(step, charge, billing)
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

    async def _say(self, say: Say, charge: Charge | None, billing: Billing | None) -> None:
        if not await self._pause(say.delay_s):
            return

        def first_token() -> None:
            if charge is not None and billing is not None:
                billing.first_token(charge)

        if self.body.get("stream") is not True:
            first_token()
            whole = self.dialect.whole(say, self.body, self.number, charge)
            await self._respond(JSONResponse(whole))
            return
        await self._start(self._streams_as)
        opening = self.dialect.opening(say, self.body, self.number, charge)
        for place, (name, chunk) in enumerate(opening):
            if place and not await self._pause(say.chunk_delay_s):
                return
            if place == 1:
                first_token()
            await self._send_event(name, chunk)
        closing = self.dialect.closing(say, self.body, self.number, charge)
        await self._send_last(closing)

    @property
    def _streams_as(self) -> str:
        return "application/x-ndjson" if self.dialect.lines else "text/event-stream; charset=utf-8"

    async def _send_last(self, closing: Iterable[Event]) -> None:
        events = [*closing]
        if self.dialect.last_event is not None:
            events.append((None, {}))
        for place, (name, chunk) in enumerate(events):
            is_last = place == len(events) - 1
            data = self.dialect.last_event if is_last else None
            await self._send_event(name, data or chunk, last=is_last)

    async def _break_stream(self, step: BreakStream) -> None:
        say = step.text if isinstance(step.text, Say) else Say(step.text)
        if self.body.get("stream") is True:
            await self._start(self._streams_as)
            chunks: Iterator[Event] = self.dialect.opening(say, self.body, self.number, None)
            for name, chunk in islice(chunks, 1 + step.after_chunks):
                await self._send_event(name, chunk)
        else:
            whole = json.dumps(self.dialect.whole(say, self.body, self.number, None)).encode()
            await self._start("application/json", length=len(whole))
            await self._send_body(whole[: len(whole) // 2])
        if await self._pause(step.silent_s):
            await self._break()

    async def _respond(self, response: Response) -> None:
        await response(self.scope, self.receive, self.send)

    async def _start(self, content_type: str, length: int | None = None) -> None:
        headers = [(b"content-type", content_type.encode())]
        if length is not None:
            headers.append((b"content-length", str(length).encode()))
        await self.send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _send_event(
        self, name: str | None, data: wire.Json | str, *, last: bool = False
    ) -> None:
        written = dialects.event(name, data, lines=self.dialect.lines)
        await self._send_body(written.encode(), last=last)

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
