"""Servers: the fake provider and a Prefect API, each a process of its own, ended by its id.

Only so is the client's CPU time the client's alone.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

_HOST = "127.0.0.1"
_ROOT = Path(__file__).parents[1]
_START_S = 180.0
_END_S = 10.0


@contextmanager
def provider(*options: str) -> Generator[str]:
    """Run the fake provider. Yields the API base that a client takes."""
    with _fake("tests.fakes", *options) as base_url:
        yield base_url


@contextmanager
def collector() -> Generator[str]:
    """Run an OTLP/HTTP receiver that forgets what it is told. Yields its base URL."""
    with _fake("tests.fakes.collector") as base_url:
        yield base_url


@contextmanager
def _fake(module: str, *options: str) -> Generator[str]:
    with _process(["-m", module, *options], os.environ, stdout=subprocess.PIPE) as server:
        line = server.stdout.readline() if server.stdout else ""
        if not line:
            raise RuntimeError(f"{module} ended with {server.wait()} before it began.")
        yield json.loads(line)["base_url"]


@contextmanager
def prefect_api(home: Path) -> Generator[str]:
    """Run a Prefect server whose database lies in `home`. Yields its API's URL."""
    port = free_port()
    quiet = {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    }
    command = ["-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"]
    options = ["--host", _HOST, "--port", str(port), "--log-level", "critical"]
    with _process([*command, *options], os.environ | quiet) as server:
        url = f"http://{_HOST}:{port}/api"
        _wait_until_healthy(f"{url}/health", server)
        yield url


@contextmanager
def _process(
    arguments: Sequence[str], environment: Mapping[str, str], stdout: int = subprocess.DEVNULL
) -> Generator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, *arguments],
        cwd=_ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        try:
            yield server
        finally:
            server.terminate()
            try:
                server.wait(_END_S)
            except subprocess.TimeoutExpired:
                server.kill()  # a Prefect server first works off its events, which takes minutes


def _wait_until_healthy(url: str, server: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"The Prefect server ended with {server.returncode}.")
        try:
            if httpx.get(url).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise TimeoutError(f"The Prefect server did not start within {_START_S:.0f} s.")


def free_port() -> int:
    """Return a port of loopback that nobody listens on at present."""
    with socket.socket() as listener:
        listener.bind((_HOST, 0))
        port: int = listener.getsockname()[1]
        return port
