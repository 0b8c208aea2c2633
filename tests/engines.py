"""Engines: real ones on loopback, `transformers serve` with a small model made here.

They are made and started as those of the benchmarks are; here they can be killed, too.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep

import httpx
import pytest

from benchmarks.engines import TransformersServe
from tests.servers import free_port

PATIENCE_S = 180.0


@dataclass(frozen=True)
class Engine:
    """One that runs. `url`: its api_base. `model`: what it calls its model, a path."""

    url: str
    model: str
    process: "subprocess.Popen[bytes]"

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.process.kill()
        self.process.wait()


@contextmanager
def serving(model: Path, count: int = 1) -> Generator[Sequence[Engine]]:
    """Serve a model so many times. The engines end with the block, by their ids.

    Skips where transformers has no server.
    """
    if find_spec("transformers.cli.serve") is None:
        pytest.skip("this transformers has no `serve`: pip install 'transformers>=5.19'")
    with ExitStack() as stack:
        started = [stack.enter_context(_started(model)) for _ in range(count)]
        for each in started:
            _wait_until_up(each)
        yield started


@contextmanager
def _started(model: Path) -> Generator[Engine]:
    port, engine = free_port(), TransformersServe(model)
    environ = {**os.environ, **engine.environment}
    log = model.parent / f"engine-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            engine.command(port),
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield Engine(f"http://127.0.0.1:{port}/v1", str(model), process)
        except BaseException:
            sys.stderr.write(log.read_text(encoding="utf-8", errors="replace")[-4000:])
            raise
        finally:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()


def _wait_until_up(engine: Engine) -> None:
    """Wait for a first reply: the model is loaded then."""
    ask = {"model": engine.model, "messages": [{"role": "user", "content": "?"}], "max_tokens": 1}
    url = f"{engine.url}/chat/completions"
    ends = monotonic() + PATIENCE_S
    while monotonic() < ends:
        assert engine.process.poll() is None, "the engine ended"
        with suppress(httpx.TransportError):
            if httpx.post(url, json=ask, timeout=PATIENCE_S).is_success:
                return
        sleep(0.2)
    pytest.fail(f"No engine at {url} after {PATIENCE_S:.0f} s.")
