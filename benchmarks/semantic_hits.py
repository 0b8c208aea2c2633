"""Semantic hits: how many similar questions are answered from the cache, and how many wrongly.

Real questions arrive one by one, each text once, at a similar-question cache that begins empty:
nothing is known of the task before the first question, and what warm-up and checks ask counts as
asked. The main figures come from the files' questions mixed by `--seed`: the files are sorted by
answer (banking77) or come in blocks (clinc150), which no traffic is. `in_file_order` has the
figures of that order too. A text that comes again is the exact cache's; it is left out, and
`counts` says how many were. Pairs: the first text is kept with its answer, then the second arrives.

`wrong_per_hit` is what `max_wrong_rate` promises, with 95% confidence. `broken` (with `--seeds N`)
says in how many of N mixed orders it was passed. Baselines see the same vectors in the same order.

    python -m benchmarks.semantic_hits --json FILE
    python -m benchmarks.semantic_hits --seeds 200 --promises 0.02 --no-baselines --json FILE
"""

import argparse
import os
import platform
import signal
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console

from tierflow.encoder import encoder

from . import question_sets
from .question_sets import Pairs, Stream
from .running import at_least_one, end, write
from .similarity_replay import CONFIDENCE, Done, Job, Sets, run
from .similarity_report import report, show

PROMISES = (0.01, 0.02, 0.05)

_PACKAGES = ("tierflow", "numpy", "faiss-cpu", "onnxruntime")

_console = Console(stderr=True)


def jobs(
    sets: Mapping[str, Stream | Pairs],
    promises: tuple[float, ...],
    seed: int,
    *,
    seeds: int = 0,
    baselines: bool = True,
) -> list[Job]:
    """Return the runs to make, those that take longest first."""
    large_first = sorted(sets.values(), key=lambda each: -len(each.texts))
    wanted: list[Job] = []
    if baselines:
        wanted += [Job(each.name, None, seed, promises) for each in large_first]
    for each in large_first:
        wanted += [Job(each.name, promise, seed, timed=True) for promise in promises]
    streams = [each.name for each in large_first if isinstance(each, Stream)]
    wanted += [Job(name, promise, None) for name in streams for promise in promises]
    for name in streams:
        wanted += [
            Job(name, promise, each, proof=True) for promise in promises for each in range(seeds)
        ]
    return wanted


def run_all(
    wanted: Sequence[Job], sets: Mapping[str, Stream | Pairs], processes: int
) -> Iterator[Done]:
    """Do the jobs, so many at a time, and yield each as it is done. With 1 process: here."""
    if processes == 1:
        Sets.take(sets)
        yield from map(run, wanted)
        return
    with _one_thread_each():
        pool = ProcessPoolExecutor(processes, get_context("spawn"), Sets.take, (sets,))
        try:
            for future in as_completed([pool.submit(run, job) for job in wanted]):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _one_thread_each() -> Generator[None]:
    """Let processes that start meanwhile calculate on one core each."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ |= dict.fromkeys(names, "1")
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _number(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{number} is below 0")
    return number


def _promise(text: str) -> float:
    promise = float(text)
    if not 0 < promise < 1:
        raise argparse.ArgumentTypeError(f"{promise:g} is not between 0 and 1")
    return promise


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark. A missed bar is printed; it is no error."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.semantic_hits",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument(
        "--data",
        type=Path,
        default=question_sets.folder(),
        metavar="DIR",
        help="where stream_*.jsonl.gz and pairs_*.jsonl.gz lie (default: %(default)s)",
    )
    parser.add_argument("--seed", type=_number, default=0, help="of the order and the checks")
    parser.add_argument(
        "--seeds", type=_number, default=0, metavar="N", help="mix each stream N times, too"
    )
    parser.add_argument("--promises", type=_promise, nargs="+", default=PROMISES)
    parser.add_argument(
        "--streams", nargs="+", metavar="NAME", help="only these sets, pairs or streams"
    )
    parser.add_argument("--no-baselines", action="store_true", help="measure no baselines")
    parser.add_argument("--processes", type=at_least_one, default=os.cpu_count() or 1)
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, end)  # so that the processes end with us
    there = question_sets.names(options.data)
    missing = set(options.streams or ()) - there
    if missing or not there:
        what = ", ".join(sorted(missing)) or "stream_*.jsonl.gz or pairs_*.jsonl.gz"
        parser.error(f"{options.data} has no {what}. Set --data or TIERFLOW_DATA.")
    found = measure(_read(options.data, options.streams), options)
    show(found)
    write(found, options.json)


def _read(data: Path, only: Sequence[str] | None) -> dict[str, Stream | Pairs]:
    reader = encoder()
    read: list[Stream | Pairs] = [
        *question_sets.streams(data, reader, only, _console.print),
        *question_sets.pairs(data, reader, only, _console.print),
    ]
    return {each.name: each for each in read}


def measure(sets: Mapping[str, Stream | Pairs], options: argparse.Namespace) -> dict[str, Any]:
    """Return all figures that the command line asks for."""
    promises = tuple(sorted(set(options.promises)))
    wanted = jobs(
        sets,
        promises,
        options.seed,
        seeds=options.seeds,
        baselines=not options.no_baselines,
    )
    done: list[Done] = []
    for each in run_all(wanted, sets, options.processes):
        done.append(each)
        _console.print(f"  {len(done)} of {len(wanted)}: {each.job.label}", highlight=False)
    done.sort(key=lambda each: wanted.index(each.job))
    return {
        **report(done, sets, options.seeds),
        "parameters": {
            "seed": options.seed,
            "seeds": options.seeds,
            "promises": promises,
            "confidence": CONFIDENCE,
            "processes": options.processes,
            "cpus": os.cpu_count(),
        },
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in _PACKAGES},
        },
    }


if __name__ == "__main__":
    main()
