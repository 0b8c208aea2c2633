"""Own clock: the time that an engine itself takes on a machine that others use, too. Linux only."""

import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path


def own_clock(port: int) -> Callable[[], float]:
    """Return a clock, in seconds, that stands while others keep the engine at a port off the CPU.

    Linux counts how long a thread was ready and did not run; of the engine's threads, the one that
    has computed most counts. So a machine that others use shows what the engine itself takes.
    """
    parents, family = dict[int, int](), set[int]()
    for path in Path("/proc").glob("[0-9]*/stat"):
        pid = int(path.parent.name)
        # A process may end while one reads.
        with suppress(OSError):
            after_name = path.read_text(encoding="utf-8").rpartition(")")[2].split()
            parents[pid] = int(after_name[1])
            words = path.with_name("cmdline").read_bytes().split(b"\0")
            if any(a == b"--port" and b == str(port).encode() for a, b in pairwise(words)):
                family.add(pid)
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    threads = [path for each in family for path in Path(f"/proc/{each}/task").glob("*/schedstat")]
    busiest = max(threads, key=lambda path: int(path.read_text(encoding="utf-8").split()[0]))

    def now() -> float:
        kept_off_ns = int(busiest.read_text(encoding="utf-8").split()[1])
        return time.perf_counter() - kept_off_ns / 1e9

    return now
