"""Backend: an HTTP server that evaluations are sent to. It records requests and plays statuses."""

import base64
import json
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

HANG = -1
"""Take the request, and say nothing until the server stops."""


@dataclass(frozen=True)
class Posted:
    """One request, as it arrived."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any

    @property
    def basic(self) -> str:
        """User and password of HTTP Basic, with a colon between."""
        kind, _, coded = self.headers.get("authorization", "").partition(" ")
        assert kind == "Basic"
        return base64.b64decode(coded).decode()


class FakeBackend:
    """A server on loopback; use it as a context manager.

    `statuses`: of the first answers, in order; HANG for none. Every other request is taken (200).
    """

    def __init__(self, *statuses: int, retry_after: str | None = None) -> None:
        self._statuses = deque(statuses)
        self._retry_after = retry_after
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self.posts: list[Posted] = []

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Where it is reached."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def wait_for(self, count: int, timeout_s: float = 10.0) -> list[Posted]:
        """Return the requests once there are so many."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.posts) >= count, timeout_s), self.posts
            return list(self.posts)

    def _take(self, posted: Posted) -> int:
        with self._changed:
            self.posts.append(posted)
            self._changed.notify_all()
            return self._statuses.popleft() if self._statuses else 200

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        backend = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                parts = urlsplit(self.path)
                headers = {name.lower(): value for name, value in self.headers.items()}
                posted = Posted(parts.path, dict(parse_qsl(parts.query)), headers, json.loads(body))
                status = backend._take(posted)
                if status == HANG:
                    backend._stopping.wait(30)
                    return
                self.send_response(status)
                if backend._retry_after is not None and status != 200:
                    self.send_header("retry-after", backend._retry_after)
                said = b'{"detail": "what the server thinks"}'
                self.send_header("content-length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name there
                pass

        return Handler
