"""Step overhead: what `@llm_task` adds to a bare Prefect task and to a bare model call.

Run `python -m benchmarks.step_overhead --json FILE`. Every number is a median: CPU milliseconds
of this process for one call (the provider and Prefect's server are processes of their own), and
wall milliseconds beside it. CPU time is the one to trust on a busy machine. Contenders take
turns, so that a change in the machine's load meets them all.
"""

import argparse
import asyncio
import gc
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from . import servers
from .running import at_least_one, end, enter, write

# What a flow's file imports, without and with tierflow. `import prefect` by itself loads little:
# Prefect's names come on first use.
_IMPORTS = {
    "import_prefect_bare": "import prefect",
    "import_prefect": "from prefect import flow, task",
    "import_tierflow": "from prefect import flow; from tierflow import llm_task",
}
_PACKAGES = ("tierflow", "prefect", "litellm", "openai", "pydantic", "sqlalchemy", "diskcache")
_QUIET_S = 0.05
_QUIET_CPU_S = 0.001

_console = Console(stderr=True)


class Took(NamedTuple):
    """Milliseconds of one call or one import."""

    cpu_ms: float
    wall_ms: float


@dataclass(frozen=True, slots=True)
class Bar:
    """What a number should not pass: the sum of other numbers and `extra_ms`. All CPU."""

    name: str
    others: tuple[str, ...]
    extra_ms: float

    def limit_ms(self, cpu: Mapping[str, float]) -> float:
        """Return the limit, given what the others took."""
        return sum(cpu[other] for other in self.others) + self.extra_ms

    def __str__(self) -> str:
        return " + ".join((*self.others, f"{self.extra_ms:g} ms"))


BARS = (
    Bar("exact_hit", ("prefect_task",), 1.0),
    Bar("miss", ("prefect_task", "litellm"), 1.5),
    Bar("import_tierflow", ("import_prefect",), 60.0),
)


def measure(calls: int, rounds: int) -> dict[str, list[Took]]:
    """Return what calls and imports took, per round. Leaves nothing behind."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(TemporaryDirectory(prefix="tierflow-benchmark-")))
        _console.print("Starting the fake provider and a Prefect server ...")
        base_url = stack.enter_context(servers.provider())
        api_url = stack.enter_context(servers.prefect_api(home))
        enter(home, api_url)
        took = _imports(rounds, home)
        from .contenders import catalogue  # reads the environment, as Prefect does

        (home / "tierflow.toml").write_text(catalogue(base_url))
        return took | asyncio.run(_calls(base_url, calls, rounds))


def _imports(rounds: int, home: Path) -> dict[str, list[Took]]:
    _console.print(f"Importing, {rounds} times each ...")
    took: dict[str, list[Took]] = {name: [] for name in _IMPORTS}
    for _ in range(rounds):
        for name, statement in _IMPORTS.items():
            took[name].append(_import(statement, home))
    return took


def _import(statement: str, folder: Path) -> Took:
    script = (
        "import time\n"
        "cpu, wall = time.process_time(), time.perf_counter()\n"
        f"{statement}\n"
        "print(time.process_time() - cpu, time.perf_counter() - wall)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True
    )
    return Took(*(1000 * float(seconds) for seconds in done.stdout.split()))


async def _calls(base_url: str, calls: int, rounds: int) -> dict[str, list[Took]]:
    from prefect import flow

    from tierflow.tasks import close_hands

    from .contenders import Contender, contenders

    contending = contenders(base_url)
    took: dict[str, list[Took]] = {name: [] for name in contending}
    number = 0

    async def timed(call: Contender) -> Took:
        nonlocal number
        gc.collect()  # nobody pays for another's rubbish
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(calls):
            number += 1
            await call(number)
        wall_s = time.perf_counter() - wall
        await _until_quiet()
        return Took(1000 * (time.process_time() - cpu) / calls, 1000 * wall_s / calls)

    @flow
    async def run() -> None:
        _console.print(f"Calling: one round to warm up, then {rounds} of {calls} calls each ...")
        for call in contending.values():
            await timed(call)
        for done in range(rounds):
            for name, call in contending.items():
                took[name].append(await timed(call))
            _console.print(f"  round {done + 1} of {rounds}")

    await run()
    await _until_quiet()
    close_hands()
    return took


async def _until_quiet() -> None:
    """Wait for what calls leave to threads and callbacks, such as events: it is theirs."""
    spent_s = _QUIET_CPU_S
    while spent_s >= _QUIET_CPU_S:
        before = time.process_time()
        await asyncio.sleep(_QUIET_S)
        spent_s = time.process_time() - before


def _medians(took: Mapping[str, Sequence[Took]], field: str) -> dict[str, float]:
    return {name: median(getattr(each, field) for each in all_) for name, all_ in took.items()}


def report(took: Mapping[str, Sequence[Took]], calls: int, rounds: int) -> dict[str, Any]:
    """Return the medians as JSON data."""
    cpu, wall = _medians(took, "cpu_ms"), _medians(took, "wall_ms")
    return {
        **{f"{name}_ms": round(ms, 3) for name, ms in cpu.items()},
        "wall": {f"{name}_ms": round(ms, 3) for name, ms in wall.items()},
        "parameters": {"calls": calls, "rounds": rounds, "cpus": os.cpu_count()},
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in _PACKAGES},
        },
    }


def show(took: Mapping[str, Sequence[Took]]) -> None:
    """Print the medians, and of each bar whether it was met."""
    cpu, wall = _medians(took, "cpu_ms"), _medians(took, "wall_ms")
    bars = {bar.name: bar for bar in BARS}
    table = Table(title="Milliseconds per call or import, medians", title_justify="left")
    table.add_column("what")
    for heading in ("CPU", "fastest", "wall", "bar"):
        table.add_column(heading, justify="right")
    table.add_column("met")
    for name, ms in cpu.items():
        bar = bars.get(name)
        limit_ms = None if bar is None else bar.limit_ms(cpu)
        table.add_row(
            name,
            f"{ms:.2f}",
            f"{min(each.cpu_ms for each in took[name]):.2f}",
            f"{wall[name]:.2f}",
            "" if limit_ms is None else f"{limit_ms:.2f} = {bar}",
            "" if limit_ms is None else "yes" if ms <= limit_ms else f"no, +{ms - limit_ms:.2f}",
        )
    Console().print(table)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark. A missed bar is printed; it is no error."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.step_overhead", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the medians there")
    parser.add_argument("--calls", type=at_least_one, default=40, help="calls of each in a round")
    parser.add_argument("--rounds", type=at_least_one, default=9, help="rounds that count")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, end)  # so that the servers end with us
    took = measure(options.calls, options.rounds)
    show(took)
    write(report(took, options.calls, options.rounds), options.json)


if __name__ == "__main__":
    main()
