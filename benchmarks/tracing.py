"""Tracing: what telemetry costs a step, a chunk of a stream, and the end of a process.

Run `python -m benchmarks.tracing --json FILE`. Microseconds are medians over rounds of CPU time of
this process, which exports by OTLP/HTTP to a collector of its own process; the exporter's share is
in them. Steps run without Prefect's engine: its own spans are not ours to pay. The end of a process
is wall time from its last line on, with a collector that takes connections and never answers, and
with one that refuses them; the longer counts.
"""

import argparse
import logging
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from . import servers
from .running import at_least_one, end, enter, write

BARS = {"step_overhead_us": 400.0, "chunk_us": 40.0, "exporter_dead_exit_s": 3.0}
"""What each number should not pass."""

_PACKAGES = ("tierflow", "opentelemetry-sdk", "opentelemetry-util-genai")
_ENDING = """
import sys, time
from tierflow.telemetry_settings import TelemetrySettings
from tierflow.tracing import set_up, span

set_up(TelemetrySettings(otlp_endpoint=sys.argv[1]))
for _ in range(100):
    with span("step of a benchmark", {}):
        pass
print(time.time(), flush=True)
"""


def measure(calls: int, rounds: int) -> dict[str, float]:
    """Return the numbers by name. Leaves nothing behind, but this process stays set up."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(TemporaryDirectory(prefix="tierflow-benchmark-")))
        base_url = stack.enter_context(servers.provider())
        enter(home, "http://127.0.0.1:1/api")
        (home / "tierflow.toml").write_text(_catalogue(base_url))
        ends = {"exporter_dead_exit_s": max(_silent_exit_s(), _refused_exit_s())}
        return _costs(stack.enter_context(servers.collector()), calls, rounds) | ends


def _costs(collector: str, calls: int, rounds: int) -> dict[str, float]:
    from tierflow import llm_task
    from tierflow.request import Request, Sampling
    from tierflow.settings import Deployment
    from tierflow.tasks import close_hands
    from tierflow.telemetry_settings import TelemetrySettings
    from tierflow.tracing import Where, attempt, set_up, span, within_step

    @llm_task(tier="fast")
    def sort(ask: str) -> str:
        """Ask the fast tier."""
        return ask

    hit: Callable[[str], object] = sort.fn
    hit("Where is my parcel?")
    untraced = _us(lambda: hit("Where is my parcel?"), calls, rounds)
    set_up(TelemetrySettings(otlp_endpoint=collector))
    traced = _us(lambda: hit("Where is my parcel?"), calls, rounds)
    close_hands()

    request = Request("sort", ({"role": "user", "content": "Where is my parcel?"},))
    within = within_step(request, "fast", Where("now", "id", "flow", "id"), iter(()))  # type: ignore[arg-type]  # it is not carried out

    def one_span() -> None:
        with span(within.name, within.attributes):
            pass

    spans = _us(one_span, calls, rounds)
    deployment = Deployment(model="openai/fast", api_base="http://127.0.0.1:1/v1")
    with attempt(deployment, request, Sampling(), tier="fast", role="answer") as call:
        call.chunk()
        chunks = _us(call.chunk, calls, rounds)
    return {
        "span_us": spans,
        "step_overhead_us": traced - untraced,
        "chunk_us": chunks,
        "untraced_hit_us": untraced,
        "traced_hit_us": traced,
    }


def _us(work: Callable[[], object], calls: int, rounds: int) -> float:
    """Return the median over rounds of the CPU microseconds of one call; one round warms up."""
    took = list[float]()
    for _ in range(rounds + 1):
        began = time.process_time()
        for _ in range(calls):
            work()
        took.append(1e6 * (time.process_time() - began) / calls)
    return median(took[1:])


def _silent_exit_s() -> float:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        return _exit_s(silent.getsockname()[1])


def _refused_exit_s() -> float:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        return _exit_s(held.getsockname()[1])


def _exit_s(port: int) -> float:
    done = subprocess.run(
        [sys.executable, "-c", _ENDING, f"http://127.0.0.1:{port}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return time.time() - float(done.stdout)


def _catalogue(base_url: str) -> str:
    deployment = f'{{ model = "openai/fast", api_base = "{base_url}" }}'
    return f"[tiers.fast]\ndeployments = [{deployment}]\n"


def report(found: Mapping[str, float], calls: int, rounds: int) -> dict[str, Any]:
    """Return the numbers as JSON data."""
    return {
        **{name: round(value, 2) for name, value in found.items()},
        "bars": BARS,
        "met": {name: found[name] <= bar for name, bar in BARS.items()},
        "parameters": {"calls": calls, "rounds": rounds, "cpus": os.cpu_count()},
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in _PACKAGES},
        },
    }


def show(found: Mapping[str, float]) -> None:
    """Print the numbers, and of each bar whether it was met."""
    table = Table(title="What telemetry costs", title_justify="left")
    for heading in ("what", "measured", "bar", "met"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for name, value in found.items():
        bar = BARS.get(name)
        met = "" if bar is None else "yes" if value <= bar else f"no, +{value - bar:.2f}"
        table.add_row(name, f"{value:.2f}", "" if bar is None else f"{bar:g}", met)
    Console().print(table)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark. A missed bar is printed; it is no error."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tracing", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there")
    parser.add_argument("--calls", type=at_least_one, default=500, help="calls in a round")
    parser.add_argument("--rounds", type=at_least_one, default=9, help="rounds that count")
    options = parser.parse_args(argv)
    # The collector ends before this process does, and a loop makes spans faster than they leave.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    signal.signal(signal.SIGTERM, end)  # so that the servers end with us
    found = measure(options.calls, options.rounds)
    show(found)
    write(report(found, options.calls, options.rounds), options.json)


if __name__ == "__main__":
    main()
