"""Provider: an OpenAI-compatible server on loopback, in a thread of its own. Calls no model."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from .app import fake_app
from .billing import Billing
from .ledger import Ledger, Recorded
from .steps import Script
from .wire import Load

HOST = "127.0.0.1"
START_TIMEOUT_S = 30.0
# Longer than any test or benchmark: a pooled connection must not die between two requests.
KEEP_ALIVE_S = 3600


class _Protocol(H11Protocol):
    """Hands each request its transport, so that a step can break the connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        state: dict[str, Any] = self.app_state
        state["transports"].append(transport)
        self.app_state = {**state, "transport": transport}


class _Server(Server):
    """Starts and stops on events, where uvicorn polls."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()
        self._stopping = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def stop(self) -> None:
        """Thread-safe."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.lifespan.state["transports"] = []
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self.ready.set()

    async def main_loop(self) -> None:
        await self._stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            for listener in server.sockets:
                asyncio.get_running_loop().remove_reader(listener.fileno())
        # What was accepted a moment ago becomes a connection first, by a task of asyncio's: one
        # that finds its server closed would leave the socket open.
        await _let_go()
        for server in self.servers:
            server.close()
        # A hanging answer would hold up the graceful stop until its time is over.
        for connection in tuple(self.server_state.connections):
            connection.transport.close()
        await super().shutdown(sockets)
        for each in self.lifespan.state["transports"]:
            each.abort()
        await _let_go()


async def _let_go() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def _listen(host: str, port: int) -> socket.socket:
    # The protocol is named, or asyncio leaves Nagle's algorithm on and each answer waits 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


class FakeProvider:
    """A scripted LLM provider behind a real socket; use it as a context manager.

    scripts: what each model name answers. default: the script of every other model; without it
    they get OpenAI's 404. port: 0 takes a free one. keep_calls: how many of the newest calls are
    remembered; None keeps all. billing: charges the models it has rules for. token_ids: what
    ``/tokenize`` answers for a request. Raises OSError where the port is taken.
    """

    def __init__(
        self,
        scripts: Mapping[str, Script] | None = None,
        *,
        default: Script | None = None,
        port: int = 0,
        keep_calls: int | None = None,
        billing: Billing | None = None,
        token_ids: Callable[[dict[str, Any]], list[int]] | None = None,
        host: str = HOST,
    ) -> None:
        self._ledger = Ledger(scripts or {}, default, keep_calls)
        self._wanted_port = port
        self._host = host
        self._billing = billing
        self._token_ids = token_ids
        self._port = 0

    def __enter__(self) -> Self:
        listener = _listen(self._host, self._wanted_port)
        self._port = listener.getsockname()[1]
        self._server = _Server(
            Config(
                fake_app(self._ledger, self._billing, self._token_ids),
                loop="asyncio",
                http=_Protocol,
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                date_header=False,
                backlog=2048,
                timeout_keep_alive=KEEP_ALIVE_S,
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="fake-provider", daemon=True
        )
        self._thread.start()
        if not self._server.ready.wait(START_TIMEOUT_S):
            raise TimeoutError(f"The fake provider did not start within {START_TIMEOUT_S} s.")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.stop()
        self._thread.join()

    @property
    def root_url(self) -> str:
        """Where ``/metrics`` and ``/health`` live: ``http://127.0.0.1:PORT``."""
        return f"http://{self._host}:{self._port}"

    @property
    def base_url(self) -> str:
        """What a client takes as its API base: ``http://127.0.0.1:PORT/v1``."""
        return f"{self.root_url}/v1"

    def script(self, model: str, script: Script) -> None:
        """Replace what ``model`` answers; a list starts from its first step."""
        self._ledger.script(model, script)

    def set_loads(self, *loads: Load) -> None:
        """What ``/metrics`` reports from now on, one Load an engine; none: there is no page."""
        self._ledger.set_loads(loads)

    @property
    def calls(self) -> tuple[Recorded, ...]:
        """Every chat request so far, oldest first."""
        return self._ledger.calls()

    def calls_to(self, model: str) -> tuple[Recorded, ...]:
        return self._ledger.calls(model)

    def max_in_flight(self, model: str) -> int:
        """The most requests to ``model`` that were open at the same time."""
        return self._ledger.max_in_flight(model)

    def wait_for_calls(
        self, count: int, model: str | None = None, timeout_s: float = 10.0
    ) -> tuple[Recorded, ...]:
        """Block until ``count`` calls have arrived and return them. Raises TimeoutError."""
        self._ledger.wait_for_calls(count, model, timeout_s)
        return self._ledger.calls(model)

    def wait_until_idle(self, timeout_s: float = 10.0) -> None:
        """Block until no request is open. Raises TimeoutError."""
        self._ledger.wait_until_idle(timeout_s)

    def reset(self) -> None:
        """Forget calls, peaks, loads and later scripts: back to what it was built with."""
        self._ledger.reset()
