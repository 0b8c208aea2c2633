"""Exact cache: what a get and a put of one answer take, and what several processes get through.

Run `python -m benchmarks.exact_cache --json FILE`. Microseconds are CPU time of this process, the
median of the rounds, with wall time beside; contenders take turns, so that a change in the
machine's load meets them all. Gets and sets a second of 1, 2 and 4 processes on one folder are
wall time, so they need as many idle cores; gets per CPU second do not.

Bars: a get takes at most twice a raw one, which is `diskcache.Cache(disk=JSONDisk).get` and
building the same object from it; two processes get at least 1.5 times as much as one.
"""

import argparse
import gc
import multiprocessing
import os
import platform
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from tierflow.caching import Key

from .answer_stores import PEERS, Store, entry, tierflow_disk
from .running import at_least_one, end, write

OURS = "tierflow_disk"
MOST_OVER_RAW = 2.0
LEAST_TWO_OVER_ONE = 1.5
_PROCESSES = {"one_process": 1, "two_processes": 2, "four_processes": 4}
_PACKAGES = ("tierflow", "diskcache", "litellm", "pydantic")

_console = Console(stderr=True)


def keys_of(count: int) -> list[Key]:
    """Return as many keys."""
    return [Key(sha256(str(number).encode()).hexdigest()) for number in range(count)]


def calls(place: Path, keys: Sequence[Key], rounds: int) -> dict[str, dict[str, float]]:
    """Return per store the median microseconds of a get and a set, CPU and wall."""
    took: dict[str, dict[str, list[float]]] = {}
    with ExitStack() as stack:
        stores = {
            name: stack.enter_context(closing(opening(place / name)))
            for name, opening in {OURS: tierflow_disk, **PEERS}.items()
        }
        for store in stores.values():
            _round(store, keys)
        for _ in range(rounds):
            for name, store in stores.items():
                for what, us in _round(store, keys).items():
                    took.setdefault(name, {}).setdefault(what, []).append(us)
    return {
        name: {what: round(median(each), 2) for what, each in found.items()}
        for name, found in took.items()
    }


def _round(store: Store, keys: Sequence[Key]) -> dict[str, float]:
    kept = entry()
    gc.collect()  # nobody pays for another's rubbish
    cpu, wall = time.process_time(), time.perf_counter()
    for key in keys:
        store.put(key, kept)
    cpu_between, wall_between = time.process_time(), time.perf_counter()
    for key in keys:
        store.get(key)
    cpu_end, wall_end = time.process_time(), time.perf_counter()
    if store.get(keys[0]) is None:
        raise RuntimeError("A store forgot what was put into it.")
    per_call = 1e6 / len(keys)
    return {
        "get_us": (cpu_end - cpu_between) * per_call,
        "set_us": (cpu_between - cpu) * per_call,
        "get_wall_us": (wall_end - wall_between) * per_call,
        "set_wall_us": (wall_between - wall) * per_call,
    }


def throughput(
    place: Path, keys: Sequence[Key], rounds: int, seconds: float
) -> dict[str, dict[str, list[float]]]:
    """Return, per round, what 1, 2 and 4 processes on one folder get through.

    `..._per_s`: of all of them together. `gets_per_cpu_s`: the same if each had a core to itself.
    """
    with closing(tierflow_disk(place)) as store:
        for key in keys:
            store.put(key, entry())
    found: dict[str, dict[str, list[float]]] = {
        name: {"gets_per_s": [], "gets_per_cpu_s": [], "sets_per_s": []} for name in _PROCESSES
    }
    for _ in range(rounds):
        for name, count in _PROCESSES.items():
            gets, gets_cpu = _together(place, keys, count, seconds, puts=False)
            sets, _ = _together(place, keys, count, seconds, puts=True)
            found[name]["gets_per_s"].append(gets)
            found[name]["gets_per_cpu_s"].append(gets_cpu)
            found[name]["sets_per_s"].append(sets)
    return found


def _together(
    place: Path, keys: Sequence[Key], count: int, seconds: float, *, puts: bool
) -> tuple[float, float]:
    # Forked, because to import takes longer than to measure. No store is open here.
    context = multiprocessing.get_context("fork")
    barrier, rates = context.Barrier(count), context.SimpleQueue()
    work = _Work(place, keys, seconds, puts)
    workers = [
        context.Process(target=_work, args=(work, number, barrier, rates))
        for number in range(count)
    ]
    for worker in workers:
        worker.start()
    by_wall, by_cpu = zip(*(rates.get() for _ in workers), strict=True)
    for worker in workers:
        worker.join()
    return sum(by_wall), sum(by_cpu)


class _Work(NamedTuple):
    place: Path
    keys: Sequence[Key]
    seconds: float
    puts: bool


def _work(work: _Work, number: int, barrier: Any, rates: Any) -> None:
    kept, keys = entry(), work.keys
    with closing(tierflow_disk(work.place)) as store:
        store.get(keys[0])
        barrier.wait()
        first = done = number * 7919
        cpu, begin = time.process_time(), time.perf_counter()
        while (took := time.perf_counter() - begin) < work.seconds:
            for _ in range(10):
                key = keys[done % len(keys)]
                if work.puts:
                    store.put(key, kept)
                else:
                    store.get(key)
                done += 1
        rates.put(((done - first) / took, (done - first) / (time.process_time() - cpu)))


def measure(count: int, rounds: int, seconds: float) -> dict[str, Any]:
    """Return all numbers as JSON data. Leaves nothing behind."""
    keys = keys_of(count)
    with TemporaryDirectory(prefix="tierflow-benchmark-") as name:
        place = Path(name)
        # First, while nothing that was imported has threads.
        _console.print(f"1, 2 and 4 processes, {rounds} rounds ...")
        together = throughput(place / "together", keys, rounds, seconds)
        _console.print(f"One process and its peers, {rounds} rounds of {count} gets and sets ...")
        found = calls(place, keys, rounds)
    ours = found.pop(OURS)
    return {
        **ours,
        "raw_get_us": found["diskcache_json"]["get_us"],
        "get_over_raw": round(ours["get_us"] / found["diskcache_json"]["get_us"], 3),
        **{
            name: {what: round(median(rates), 1) for what, rates in each.items()}
            for name, each in together.items()
        },
        "two_over_one": _two_over_one(together, "gets_per_s"),
        "two_over_one_cpu": _two_over_one(together, "gets_per_cpu_s"),
        "peers": found,
        "parameters": {
            "calls": count,
            "rounds": rounds,
            "seconds": seconds,
            "answer_bytes": 900,
            "cpus": os.cpu_count(),
        },
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in _PACKAGES},
        },
    }


def _two_over_one(together: dict[str, dict[str, list[float]]], what: str) -> float:
    # Round by round: what else the machine does weighs on neighbours alike.
    one, two = together["one_process"][what], together["two_processes"][what]
    return round(median(b / a for a, b in zip(one, two, strict=True)), 3)


def show(found: dict[str, Any]) -> None:
    """Print the numbers, and of each bar whether it was met."""
    table = Table(title="Microseconds for one answer of 900 bytes, medians", title_justify="left")
    table.add_column("store")
    for heading in ("get", "set", "get, wall", "set, wall"):
        table.add_column(heading, justify="right")
    for name, took in {OURS: found, **found["peers"]}.items():
        columns = ("get_us", "set_us", "get_wall_us", "set_wall_us")
        table.add_row(name, *(f"{took[column]:.1f}" for column in columns))
    console = Console()
    console.print(table)
    for name in _PROCESSES:
        each = found[name]
        console.print(f"{name}: {each['gets_per_s']:.0f} gets/s, {each['sets_per_s']:.0f} sets/s")
    over_raw, scaling = found["get_over_raw"], found["two_over_one"]
    console.print(f"get / raw: {over_raw:.2f}, {_met(over_raw <= MOST_OVER_RAW)} (at most 2)")
    console.print(
        f"two / one: {scaling:.2f}, {_met(scaling >= LEAST_TWO_OVER_ONE)} (at least 1.5); "
        f"with a core for each it would be {found['two_over_one_cpu']:.2f}"
    )


def _met(is_met: bool) -> str:
    return "met" if is_met else "missed"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark. A missed bar is printed; it is no error."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exact_cache", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there")
    parser.add_argument("--calls", type=at_least_one, default=2000, help="of each kind in a round")
    parser.add_argument("--rounds", type=at_least_one, default=9, help="rounds that count")
    parser.add_argument("--seconds", type=float, default=0.3, help="that processes run in a round")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, end)
    found = measure(options.calls, options.rounds, options.seconds)
    show(found)
    write(found, options.json)


if __name__ == "__main__":
    main()
