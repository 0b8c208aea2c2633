"""Runs the fake provider as a process of its own, so that its CPU time is not the client's.

Prints one JSON line ``{"base_url": ...}`` when it is ready. Ends when its standard input closes
(start it with a pipe there: it cannot outlive its parent) or on SIGTERM.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from .billing import Billing
from .provider import FakeProvider
from .steps import Say
from .terms import TERMS


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fakes", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--say", default="ok", help="what every model answers")
    parser.add_argument("--delay-s", type=float, default=0.0, help="time before each answer")
    parser.add_argument("--bill", action="store_true", help="charge by the real models' terms")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    say = Say(options.say, delay_s=options.delay_s)
    # Keeping the calls would grow the process with the length of the benchmark.
    billing = Billing(TERMS) if options.bill else None
    with FakeProvider(default=say, port=options.port, keep_calls=0, billing=billing) as provider:
        sys.stdout.write(json.dumps({"base_url": provider.base_url}) + "\n")
        sys.stdout.flush()
        sys.stdin.buffer.read()


def _end(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    main()
