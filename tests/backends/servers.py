"""Servers: real backends on loopback, each installed once below the user's cache."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import httpx
import pytest
from filelock import FileLock

# Looked up once: tests take the machine's settings away.
HOME = Path(os.environ.get("TIERFLOW_BACKENDS", "~/.cache/tierflow-backends")).expanduser()
PATIENCE_S = 300.0
"""A cold Phoenix takes a minute to start on two cores."""

_EVERY_S = 0.3

T = TypeVar("T")


def python_program(requirement: str, name: str) -> Path:
    """A program of a pinned requirement, in a virtual environment of its own."""
    folder = HOME / requirement.replace("==", "-")
    ready = folder / ".ready"
    with _lock(folder):
        if not ready.is_file():
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            _or_skip([folder / "bin" / "python", "-m", "pip", "install", "--quiet", requirement])
            ready.touch()
    return folder / "bin" / name


def debian_program(package: str) -> Path:
    """The program of that name: the machine's, else Debian's, unpacked without its service."""
    if (found := shutil.which(package)) is not None:
        return Path(found)
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        pytest.skip(f"no {package} on the PATH, and this is no Debian")
    folder = HOME / f"{package}-debian"
    program = folder / "usr" / "bin" / package
    with _lock(folder):
        if not program.is_file():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            _or_skip(["apt-get", "download", package], folder)
            (archive,) = folder.glob("*.deb")
            _or_skip(["dpkg-deb", "--extract", archive, folder])
    return program


def _lock(folder: Path) -> FileLock:
    HOME.mkdir(parents=True, exist_ok=True)
    return FileLock(f"{folder}.lock")


def _or_skip(command: Sequence[str | Path], folder: Path | None = None) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = " ".join(map(str, command))
        pytest.skip(f"{said} failed: {done.stderr.strip().splitlines()[-1:]}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port: int = bound.getsockname()[1]
        return port


@contextmanager
def running(
    command: Sequence[str | Path], folder: Path, health: str, **environ: str
) -> Generator[None]:
    """Run a server until the block ends. `health`: the URL that answers 200 once it is up."""
    log = folder / "server.log"
    known = {name: value for name, value in os.environ.items() if not _is_ours(name)}
    with log.open("wb") as written:
        server = subprocess.Popen(
            command, cwd=folder, env=known | environ, stdout=written, stderr=subprocess.STDOUT
        )

    def is_up() -> bool:
        if server.poll() is not None:
            raise RuntimeError(f"{command[0]} ended: {log.read_text(errors='replace')[-2000:]}")
        try:
            return httpx.get(health).is_success
        except httpx.TransportError:
            return False

    try:
        eventually(is_up)
        yield
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _is_ours(name: str) -> bool:
    return name.startswith(("OTEL_", "PREFECT_", "TIERFLOW_", "PYTHONPATH"))


def eventually(look: Callable[[], T]) -> T:
    """What a look finds, once it finds anything. Raises TimeoutError."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if found := look():
            return found
        time.sleep(_EVERY_S)
    raise TimeoutError(f"Nothing was found within {PATIENCE_S} s.")


def answered(method: str, url: str, **options: object) -> Mapping[str, object]:
    """The JSON that a backend answers."""
    answer = httpx.request(method, url, **options)  # type: ignore[arg-type]  # passed on as they are
    assert answer.is_success, answer.text
    found: Mapping[str, object] = answer.json()
    return found
