"""Engines: real ones on loopback, `transformers serve` with a small model made here.

They are made and started as those of the benchmarks are; here they can be killed, too.
"""

import subprocess
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.engines import transformers_serve
from tierflow.serving.engines import running, wait_until_healthy

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
        launches = [transformers_serve(model) for _ in range(count)]
        logs = [model.parent / f"engine-{number}.log" for number in range(count)]
        started = [
            Engine(launch.api_base, str(model), stack.enter_context(running(launch, log)))
            for launch, log in zip(launches, logs, strict=True)
        ]
        for launch, engine, log in zip(launches, started, logs, strict=True):
            wait_until_healthy(launch, engine.process, timeout_s=PATIENCE_S, log=log)
        yield started
