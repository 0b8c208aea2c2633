"""Servers: Prefect's own processes on loopback, for tests of flows on workers."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

import tierflow

T = TypeVar("T")
ROOT = Path(tierflow.__file__).parents[1]
PATIENCE_S = 300.0
"""Far above what any step takes: only a hanging one reaches it."""


@contextmanager
def running(command: list[str], environ: dict[str, str], log: Path) -> Generator[None]:
    """A `prefect` process in a group of its own, which ends with the block, children and all."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", *command],
            cwd=ROOT,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield
        except BaseException:
            sys.stderr.write(log.read_text(encoding="utf-8", errors="replace"))
            raise
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def prefect(words: list[str], environ: dict[str, str], folder: Path = ROOT) -> None:
    """Carry out one of Prefect's own commands."""
    command(["-m", "prefect", *words], environ, folder)


def command(words: list[str], environ: dict[str, str], folder: Path = ROOT) -> str:
    """Carry out a Python command that must end well, and return what it printed."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def wait_for(look: Callable[[], T | None], what: str) -> T:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if (found := look()) is not None:
            return found
        time.sleep(0.5)
    pytest.fail(f"Waited {PATIENCE_S:.0f} s for {what}.")


def is_up(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5.0).is_success
    except httpx.TransportError:
        return False


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
