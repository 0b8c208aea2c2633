"""Token ids: an engine's page is asked over one connection, with what a chat request would say."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.fakes import FakeProvider
from tierflow.errors import EngineUnreadableError
from tierflow.serving import TokenizePage, read_options

MESSAGES = [{"role": "user", "content": "hello"}]
TOOLS = [{"type": "function", "function": {"name": "look"}}]


@dataclass
class Served:
    """What an engine was asked at /tokenize, and from which ports."""

    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    ports: set[int] = field(default_factory=set[int])


@pytest.fixture
def served() -> Iterator[Served]:
    found = Served()

    class Page(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            found.ports.add(self.client_address[1])
            read = self.rfile.read(int(self.headers["content-length"]))
            found.bodies.append(json.loads(read))
            answer = b'{"tokens": [1, 2, 3]}'
            self.send_response(200)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        found.url = f"http://127.0.0.1:{server.server_port}/v1"
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield found
        server.shutdown()
        serving.join()


def test_one_connection_is_kept_until_the_page_is_closed(served: Served) -> None:
    page = TokenizePage(timeout_s=30)
    for _ in range(3):
        assert page.token_ids(served.url, "m", MESSAGES, replies=True, options={}) == [1, 2, 3]
    assert len(served.ports) == 1
    page.close()
    assert page.token_ids(served.url, "m", MESSAGES, replies=False, options={}) == [1, 2, 3]
    page.close()
    assert len(served.ports) == 2


def test_what_a_template_reads_is_sent_along(served: Served) -> None:
    page = TokenizePage(timeout_s=30)
    options = read_options(
        {"tools": TOOLS, "top_k": 3, "extra_body": {"chat_template_kwargs": {"thinks": False}}}
    )
    page.token_ids(served.url, "m", MESSAGES, replies=True, options=options)
    page.close()
    assert served.bodies == [
        {
            "model": "m",
            "messages": MESSAGES,
            "add_generation_prompt": True,
            "tools": TOOLS,
            "chat_template_kwargs": {"thinks": False},
        }
    ]


def test_a_server_without_the_page_is_unreadable(provider: FakeProvider) -> None:
    page = TokenizePage()
    with pytest.raises(EngineUnreadableError, match="gave no token ids"):
        page.token_ids(provider.base_url, "m", MESSAGES, replies=True, options={})
    page.close()
