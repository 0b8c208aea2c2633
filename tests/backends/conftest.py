"""Fixtures: a project whose tiers have models that backends know, and one that they do not."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest
from prefect.settings import PREFECT_API_URL

from tests.conftest import Catalogue
from tests.fakes import FakeProvider, Say
from tierflow.tracing.ledger import Row
from tierflow.tracing.opening import rows_of

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Inbox:
    """The process under way."""

    reads: IO[str]
    says: IO[str]

    def run(self, ask: str) -> tuple[str, str]:
        """Run the flow once; return the flow run's id and the ref of its escalated answer."""
        self.reads.write(f"{ask}\n")
        self.reads.flush()
        flow_run_id, _, ref = self.says.readline().strip().partition(" ")
        assert ref, "the process ended"
        return flow_run_id, ref


StartInbox = Callable[..., Inbox]


@pytest.fixture
def inbox(
    catalogue: Catalogue, provider: FakeProvider, prefect_server: None
) -> Iterator[StartInbox]:
    """Start the process: `inbox(toml, "argument", OTEL_…="…")`; `toml` goes into tierflow.toml."""
    config = catalogue(fast=["gpt-4o-mini"], standard=["gpt-4o"], frontier=["shop-large"])
    provider.script(
        "gpt-4o-mini",
        Say("on its way", 100, 20, cached_tokens=40, reasoning_tokens=5),
    )
    judged = Say({"score": 0.1, "reason": "no"}, input_tokens=50, output_tokens=10)
    provider.script("gpt-4o", judged)
    provider.script("shop-large", Say("it left today", input_tokens=100, output_tokens=30))
    with ExitStack() as stack:

        def start(toml: str, *arguments: str, **environ: str) -> Inbox:
            with config.open("a", encoding="utf-8") as file:
                file.write(f"\n{toml}\n")
            known = {name: value for name, value in os.environ.items() if "OTEL_" not in name}
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.backends.inbox", *arguments],
                    cwd=config.parent,
                    env={
                        **known,
                        "PREFECT_API_URL": PREFECT_API_URL.value(),
                        "PREFECT_LOGGING_LEVEL": "WARNING",
                        "PYTHONPATH": str(ROOT),
                        **environ,
                    },
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            assert process.stdin is not None
            assert process.stdout is not None
            # Its end of input ends it, also where a test fails.
            return Inbox(process.stdin, process.stdout)

        yield start


ABOVE_A_CALL = ["step escalated", "escalated", "invoke_workflow inbox"]
"""The names above a call of the escalated step, of a task run its name's first word."""


def ledger_of(flow_run_id: str) -> list[Row]:
    """What the ledger has of a flow run."""
    return list(rows_of(flow_run_id))
