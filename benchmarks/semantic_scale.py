"""Semantic scale: what finding and keeping a question costs, from ten thousand to a million.

Run `python -m benchmarks.semantic_scale --json FILE`. Stored are real questions' vectors and, as
there are not enough of them, made ones: see semantic_vectors.py, and take recall beyond 20,000 as
indicative. Asked are real questions that are not stored, and stored ones that were shaken. Lookups
take 32 neighbours. Encoding is not in them, but in `full_lookup_10k_ms`.

Times are wall milliseconds in one thread; `_cpu_` ones are the thread's CPU time, to trust on a
busy machine. `while_packing` is a lookup while the index's own thread works. `durable_` ones go
through the SQLite store as well: an insert and a delete that are on disk, and a lookup that first
asks the store whether anything changed; that store holds 10,000 questions at most.
`bytes_per_entry` is what a process grows by that loads the snapshot; `bytes_computed` is what the
index says. `recall_at_1`: of those asked whose nearest is at 0.8 or more, the share that gets this
very one first; `recall_near_tie` also takes one that is no more than 0.001 further.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from tierflow.caching.keys import Key
from tierflow.caching.similar.index import PartitionIndex
from tierflow.caching.similar.snapshot import save
from tierflow.caching.similar.sqlite_store import SqliteSimilarStore
from tierflow.caching.similar.store import Asked
from tierflow.caching.store import Labels
from tierflow.encoder import Encoder, encoder
from tierflow.settings import settings

from .running import at_least_one, end, enter, write
from .semantic_memory import NAMES
from .semantic_peers import peers
from .semantic_vectors import Base, Scale, Vectors, base, fresh, questions, scaled

K = 32
_ROOT = Path(__file__).parents[1]
_PACKAGES = ("tierflow", "faiss-cpu", "numpy", "onnxruntime")
_BATCH = 10_000
_CHANGES = 300
_WARM = 20
_MOST_DURABLE = 10_000
_LOOKUPS = 1000
_PACKING_S = 20.0
_FULL_AT = 10_000

# At a million entries: the most that a number should be, and the least.
_BARS_AT = "1000000"
_AT_MOST = {
    "lookup_p50_ms": 0.6,
    "insert_p50_ms": 0.15,
    "delete_p50_ms": 0.05,
    "bytes_per_entry": 450.0,
}
_AT_LEAST = {"recall_at_1": 0.99}
_MOST_GROWTH = 4.0
_MOST_FULL_MS = 8.0

_console = Console(stderr=True)


def measure(sizes: Sequence[int], texts: list[str]) -> dict[str, Any]:
    """Return all numbers. Leaves nothing behind."""
    found: dict[str, Any] = {"sizes": {}, "full_lookup_10k_ms": None, "peers": {}}
    encoding = encoder()
    _console.print(f"Encoding questions, of {len(texts)} as many as are needed ...")
    start = time.perf_counter()
    known = base(texts, encoding, max(sizes), _console.print)
    found["encode_s"] = round(time.perf_counter() - start, 1)
    full_at = min(sizes, key=lambda size: abs(size - _FULL_AT))
    for size in sorted(sizes):
        _console.print(f"{size} entries ...")
        scale = scaled(known, size)
        with TemporaryDirectory(prefix="tierflow-benchmark-") as folder:
            index, numbers = _one_size(known, scale, Path(folder))
            if size == full_at:
                found["full_lookup_10k_ms"] = _full_lookup(index, encoding, known)
                found["full_lookup_entries"] = size
                found["peers"] = peers(scale.stored.astype(np.float32), scale.asked)
            index.close()
        found["sizes"][str(size)] = numbers
        _console.print(f"  lookup {numbers['lookup_p50_ms']} ms, built in {numbers['build_s']} s")
    return found


def _one_size(known: Base, scale: Scale, folder: Path) -> tuple[PartitionIndex, dict[str, Any]]:
    numbers: dict[str, Any] = {}
    index = PartitionIndex(known.vectors.shape[1])
    start, cpu = time.perf_counter(), time.process_time()
    for row in range(0, len(scale), _BATCH):
        part = scale.stored[row : row + _BATCH].astype(np.float32)
        index.add_many(range(row, row + len(part)), part)
    index.settle()
    numbers["build_s"] = round(time.perf_counter() - start, 2)
    numbers["build_cpu_s"] = round(time.process_time() - cpu, 2)

    numbers |= _lookups(index, scale.asked, "lookup")
    numbers |= _recall(index, scale)
    numbers["bytes_computed"] = round(index.resident_bytes / len(scale), 1)
    numbers |= _snapshot(index, folder)
    numbers |= _changes(index, known, scale)
    numbers |= _durable(index, known, scale, folder)
    numbers |= _while_packing(index, known, scale)
    return index, numbers


def _lookups(index: PartitionIndex, asked: Vectors, name: str) -> dict[str, float]:
    for vector in asked[:_WARM]:
        index.search(vector, K)
    wall, cpu = _timed(lambda vector: index.search(vector, K), asked[:_LOOKUPS])
    return _quantiles(name, wall) | {f"{name}_cpu_p50_ms": _median_ms(cpu)}


def _recall(index: PartitionIndex, scale: Scale) -> dict[str, Any]:
    near = np.flatnonzero(scale.similarity >= 0.8)
    right = tie = 0
    for each in near:
        asked = scale.asked[each]
        first = index.search(asked, K)[0][0]
        right += int(first == scale.nearest[each])
        stored = scale.stored[first].astype(np.float32)
        true = float(stored @ asked / np.linalg.norm(stored))
        tie += int(true >= scale.similarity[each] - 1e-3)
    count = len(near)
    return {
        "recall_at_1": round(right / count, 4) if count else None,
        "recall_near_tie": round(tie / count, 4) if count else None,
        "recall_asked": count,
    }


def _snapshot(index: PartitionIndex, folder: Path) -> dict[str, Any]:
    path = folder / "benchmark.idx"
    start = time.perf_counter()
    if not save(index, path, upto_seq=0, **NAMES):
        raise OSError(f"{path} could not be written; free space there.")
    save_s = time.perf_counter() - start
    size = path.stat().st_size
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.semantic_memory", str(path)],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    path.unlink()
    measured: dict[str, Any] = json.loads(done.stdout)
    if measured["bytes_per_entry"] is not None:
        measured["bytes_per_entry"] = round(measured["bytes_per_entry"], 1)
    return {"save_s": round(save_s, 3), "file_bytes": round(size / len(index), 1), **measured}


def _changes(index: PartitionIndex, known: Base, scale: Scale) -> dict[str, float]:
    vectors = fresh(known, _CHANGES)
    new = iter(range(len(scale), len(scale) + _CHANGES))
    inserts, _ = _timed(lambda vector: index.add(next(new), vector), vectors)
    gone = np.random.default_rng(1).choice(len(scale), min(_CHANGES, len(scale) // 2), False)
    deletes, _ = _timed(index.remove, gone.tolist())
    return {"insert_p50_ms": _median_ms(inserts), "delete_p50_ms": _median_ms(deletes)}


def _durable(index: PartitionIndex, known: Base, scale: Scale, folder: Path) -> dict[str, Any]:
    store = SqliteSimilarStore(folder / "similar.db")
    first_free = 2 * len(scale)  # ids of the store must not meet those of the index

    def asked(number: int, vector: Vectors) -> Asked:
        key = Key(f"{number:064x}")
        return Asked("benchmark", key, f"question {number}", vector, key, Labels("benchmark"))

    count = min(len(scale), _MOST_DURABLE)
    for number in range(count):
        store.add(asked(number, scale.stored[number].astype(np.float32)))
    numbers = iter(range(count, count + _CHANGES))
    added: list[int] = []

    def insert(vector: Vectors) -> None:
        added.append(store.add(asked(next(numbers), vector)))
        index.add(first_free + added[-1], vector)

    def look_up(vector: Vectors) -> None:
        store.version()
        index.search(vector, K)

    def remove(number: int) -> None:
        store.remove(number)
        index.remove(first_free + number)

    inserts, _ = _timed(insert, fresh(known, _CHANGES))
    lookups, _ = _timed(look_up, scale.asked[:_LOOKUPS])
    deletes, _ = _timed(remove, added)
    store.close()
    return {
        "durable_insert_p50_ms": _median_ms(inserts),
        "durable_lookup_p50_ms": _median_ms(lookups),
        "durable_delete_p50_ms": _median_ms(deletes),
        "durable_entries": count,
    }


def _while_packing(index: PartitionIndex, known: Base, scale: Scale) -> dict[str, Any]:
    """Add vectors until the index packs, and look up meanwhile; None where it stays flat."""
    name = "lookup_while_packing"
    none: dict[str, Any] = {f"{name}_p50_ms": None, f"{name}_p99_ms": None}
    if len(scale) <= _flat_limit():
        return none
    vectors = fresh(known, len(scale) // 100 + 5000)
    start = 4 * len(scale)
    index.add_many(range(start, start + len(vectors)), vectors)
    took: list[float] = []
    until = time.perf_counter() + _PACKING_S
    while index.is_packing and time.perf_counter() < until:
        wall, _ = _timed(lambda vector: index.search(vector, K), scale.asked[:50])
        took += wall
    index.settle()
    return _quantiles(name, took) if took else none


def _flat_limit() -> int:
    return PartitionIndex.FLAT_LIMIT


def _full_lookup(index: PartitionIndex, encoding: Encoder, known: Base) -> float:
    """Encode a question that was not encoded before, and look it up."""
    # The encoder remembers what it read: a mark makes each question a new one.
    texts = [f"{text} (case {number})" for number, text in enumerate(known.asked)]
    short = sorted(texts, key=len)[: len(texts) // 2 or 1]

    def look_up(text: str) -> None:
        index.search(encoding.encode([text])[0], K)

    for text in short[:_WARM]:
        look_up(f"{text}!")
    wall, _ = _timed(look_up, short)
    return _median_ms(wall)


def _timed(call: Callable[[Any], object], each: Iterable[Any]) -> tuple[list[float], list[float]]:
    """Return wall and CPU seconds of one call for each."""
    wall: list[float] = []
    cpu: list[float] = []
    for one in each:
        start, start_cpu = time.perf_counter(), time.thread_time()
        call(one)
        wall.append(time.perf_counter() - start)
        cpu.append(time.thread_time() - start_cpu)
    return wall, cpu


def _quantiles(name: str, seconds: list[float]) -> dict[str, float]:
    p50, p99 = np.quantile(seconds, (0.5, 0.99))
    return {f"{name}_p50_ms": round(1000 * p50, 4), f"{name}_p99_ms": round(1000 * p99, 4)}


def _median_ms(seconds: list[float]) -> float:
    return round(1000 * float(np.median(seconds)), 4)


def report(found: dict[str, Any], data: Path, texts: int) -> dict[str, Any]:
    """Return the numbers with what they were measured with, as JSON data."""
    return {
        **found,
        "parameters": {"k": K, "questions": texts, "data": data.name, "cpus": os.cpu_count()},
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in _PACKAGES},
        },
    }


def show(found: dict[str, Any]) -> None:
    """Print the numbers, and of each bar whether it was met."""
    sizes: dict[str, dict[str, Any]] = found["sizes"]
    table = Table(title="One question among so many", title_justify="left")
    table.add_column("what")
    for size in sizes:
        table.add_column(size, justify="right")
    table.add_column("bar at a million", justify="right")
    table.add_column("met")
    largest = sizes.get(_BARS_AT, {})
    for name in next(iter(sizes.values())):
        most, least = _AT_MOST.get(name), _AT_LEAST.get(name)
        value = largest.get(name)
        bar = met = ""
        if value is not None and (most is not None or least is not None):
            bar = f"<= {most:g}" if most is not None else f">= {least:g}"
            met = _yes((most is None or value <= most) and (least is None or value >= least))
        table.add_row(name, *(str(each[name]) for each in sizes.values()), bar, met)
    console = Console()
    console.print(table)
    full_ms = found["full_lookup_10k_ms"]
    console.print(
        f"encode and look up among {found['full_lookup_entries']}: {full_ms} ms, bar "
        f"{_MOST_FULL_MS:g} ms, met: {_yes(full_ms <= _MOST_FULL_MS)}"
    )
    if {"100000", _BARS_AT} <= set(sizes):
        growth = sizes[_BARS_AT]["lookup_p50_ms"] / sizes["100000"]["lookup_p50_ms"]
        console.print(
            f"lookup at 1,000,000 / at 100,000: {growth:.2f}, bar {_MOST_GROWTH:g}, "
            f"met: {_yes(growth <= _MOST_GROWTH)}"
        )
    for name, value in found["peers"].items():
        console.print(f"{name}: {value}")


def _take_export_along(home: Path) -> None:
    """Copy the exported model that the user has, if any: to make it takes half a minute."""
    for manifest in (settings().home / "encoder").glob("*/manifest.json"):
        folder = manifest.parent
        shutil.copytree(folder, home / "encoder" / folder.name)


def _yes(is_met: bool) -> str:  # it is what it says
    return "yes" if is_met else "no"


def _sizes(text: str) -> list[int]:
    return sorted({at_least_one(each) for each in text.split(",")})


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark. A missed bar is printed; it is no error."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.semantic_scale", description=__doc__
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there")
    default = [10_000, 100_000, 1_000_000]
    parser.add_argument("--sizes", type=_sizes, default=default, help="numbers, by commas")
    shared = os.environ.get("TIERFLOW_DATA", str(_ROOT.parent / "shared" / "data"))
    parser.add_argument(
        "--data", type=Path, metavar="DIR", default=Path(shared) / "questions", help="*.jsonl.gz"
    )
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, end)
    texts = questions(options.data)
    if len(texts) < 10:
        parser.error(f"--data {options.data} has {len(texts)} questions; name a folder with more")
    try:
        with TemporaryDirectory(prefix="tierflow-benchmark-") as home:
            # The encoder keeps its model and its vectors there: not those of the user.
            _take_export_along(Path(home) / "tierflow")
            enter(Path(home), "")
            (Path(home) / "tierflow.toml").touch()
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(home) / "torch")
            found = report(measure(options.sizes, texts), options.data, len(texts))
    except KeyboardInterrupt:
        _console.print("Stopped; nothing was written.")
        sys.exit(130)
    show(found)
    write(found, options.json)


if __name__ == "__main__":
    main()
