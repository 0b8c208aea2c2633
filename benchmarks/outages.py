"""Outages: what a user notices when one of two deployments fails or becomes slow.

Run `python -m benchmarks.outages --json FILE`. The fake provider answers over real sockets, each
reply after a random time; in an outage the first deployment fails, or takes ten times as long.
Reported: calls that failed, and the 95th percentile of a call's time over that of a healthy hour.
"""

import argparse
import asyncio
import os
import random
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from .running import at_least_one, end, enter, write

_BASE_S = 0.25
_SIGMA = 0.25
_TIMES = 10.0
_WARM_UP = 64
_BARS = {"failed_calls": 0.0, "p95_over_healthy": 1.5}

_console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Drill:
    """An outage, and how a tier meets it. `fault`: "none", "slow" or "down".

    `tier`, `breaker`: TOML. `share`: of the calls; a drill that is there for comparison gets
    fewer, and no bar.
    """

    name: str
    fault: str
    tier: str = ""
    breaker: str = ""
    share: float = 1.0


_NEVER = "min_calls = 1_000_000\nfailures_in_a_row = 1_000_000"
DRILLS = (
    Drill("healthy", "none"),
    Drill("slow", "slow"),
    Drill("slow, hedged", "slow", tier="hedge = true"),
    Drill("slow, no breaker", "slow", "", f"[breaker]\n{_NEVER}", share=0.1),
    Drill("down", "down"),
)


def measure(calls: int, concurrency: int, seed: int) -> dict[str, dict[str, float]]:
    """Return the figures of each drill. Leaves nothing behind."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(TemporaryDirectory(prefix="tierflow-benchmark-")))
        enter(home, "http://127.0.0.1:9/api")  # no step here runs in a flow
        found: dict[str, dict[str, float]] = {}
        # What is done once in a process, such as importing litellm, is no drill's.
        _drilled(DRILLS[0], home / "once", concurrency, concurrency, seed)
        for drill in DRILLS:
            count = max(1, round(drill.share * calls))
            _console.print(f"{drill.name}: {count} calls, {concurrency} at a time ...")
            found[drill.name] = _drilled(drill, home / drill.name, count, concurrency, seed)
        healthy = found["healthy"]["p95_ms"]
        for figures in found.values():
            figures["p95_over_healthy"] = round(figures["p95_ms"] / healthy, 3)
        return found


def _drilled(drill: Drill, home: Path, calls: int, concurrency: int, seed: int) -> dict[str, float]:
    from tests.fakes import Fail, FakeProvider, Say
    from tierflow.tasks import close_hands

    chance = random.Random(seed)
    home.mkdir()

    def reply(times: float) -> Callable[[Any], Any]:
        return lambda _: Say("fine", delay_s=times * _BASE_S * chance.lognormvariate(0, _SIGMA))

    with FakeProvider() as provider:
        os.environ["TIERFLOW_HOME"] = str(home)
        os.environ["TIERFLOW_CONFIG"] = str(home / "tierflow.toml")
        (home / "tierflow.toml").write_text(_catalogue(drill, provider.base_url))
        for model in "ab":
            provider.script(model, reply(1))

        def strike() -> None:
            if drill.fault != "none":
                provider.script("a", Fail(500) if drill.fault == "down" else reply(_TIMES))

        try:
            took, failed = asyncio.run(_asked(calls, concurrency, strike))
        finally:
            close_hands()
        asked = {model: len(provider.calls_to(model)) for model in "ab"}
    took.sort()
    return {
        "failed_calls": float(failed),
        "p50_ms": round(1000 * took[len(took) // 2], 1),
        "p95_ms": round(1000 * took[len(took) * 95 // 100], 1),
        "p99_ms": round(1000 * took[len(took) * 99 // 100], 1),
        "asked_first": float(asked["a"] - _WARM_UP),
        "asked_second": float(asked["b"]),
    }


async def _asked(
    calls: int, concurrency: int, strike: Callable[[], None]
) -> tuple[list[float], int]:
    """Return what each call took once the outage has begun, and how many failed."""
    from tierflow import llm_task
    from tierflow.errors import TierflowError

    @llm_task(tier="fast", cache=None)
    async def ask(question: str) -> str:
        return question

    took: list[float] = []
    failed = 0
    gate = asyncio.Semaphore(concurrency)

    async def one(number: int) -> None:
        nonlocal failed
        async with gate:
            began = time.perf_counter()
            try:
                await ask.fn(str(number))
            except TierflowError:
                failed += 1
            took.append(time.perf_counter() - began)

    await asyncio.gather(*map(one, range(_WARM_UP)))
    took.clear()
    strike()
    await asyncio.gather(*map(one, range(calls)))
    return took, failed


def _catalogue(drill: Drill, base_url: str) -> str:
    prices = "input_usd_per_mtok = 1.0, output_usd_per_mtok = 1.0"
    deployments = ", ".join(
        f'{{ model = "openai/{model}", api_base = "{base_url}", {prices} }}' for model in "ab"
    )
    tier = f"[tiers.fast]\ndeployments = [{deployments}]\n{drill.tier}"
    return f"{tier}\n{drill.breaker}\n"


def report(
    found: Mapping[str, Mapping[str, float]], calls: int, concurrency: int, seed: int
) -> dict[str, Any]:
    """Return the figures as JSON data."""
    return {
        "drills": found,
        "bars": _BARS,
        "met": {drill.name: _is_met(found[drill.name]) for drill in DRILLS if drill.share == 1},
        "parameters": {
            "calls": calls,
            "concurrency": concurrency,
            "seed": seed,
            "base_ms": 1000 * _BASE_S,
            "brown_out": _TIMES,
            "cpus": os.cpu_count(),
        },
    }


def _is_met(figures: Mapping[str, float]) -> bool:
    return all(figures[name] <= bar for name, bar in _BARS.items())


def show(found: Mapping[str, Mapping[str, float]]) -> None:
    """Print the figures, and of each drill whether its bars were met."""
    table = Table(title="Two deployments, one in trouble", title_justify="left")
    table.add_column("drill")
    names = next(iter(found.values()))
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("bars")
    for drill in DRILLS:
        figures = found[drill.name]
        met = ("met" if _is_met(figures) else "missed") if drill.share == 1 else ""
        table.add_row(drill.name, *(f"{figures[name]:g}" for name in names), met)
    Console().print(table)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark. A missed bar is printed; it is no error."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.outages", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--calls", type=at_least_one, default=1000, help="calls of each drill")
    parser.add_argument("--concurrency", type=at_least_one, default=10, help="calls at a time")
    parser.add_argument("--seed", type=int, default=0, help="of the replies' times")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, end)
    found = measure(options.calls, options.concurrency, options.seed)
    show(found)
    write(report(found, options.calls, options.concurrency, options.seed), options.json)


if __name__ == "__main__":
    main()
