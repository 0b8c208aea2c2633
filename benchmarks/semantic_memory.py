"""Semantic memory: what one loaded index adds to a process, which is this one.

Run by benchmarks.semantic_scale: `python -m benchmarks.semantic_memory FILE` prints JSON.
"""

import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from tierflow.caching.similar.index import PartitionIndex
from tierflow.caching.similar.snapshot import load

NAMES: Any = {"partition": "benchmark", "fingerprint": "benchmark"}


def resident_bytes() -> int | None:
    """Return what this process has in memory, None where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except FileNotFoundError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def main(path: Path) -> None:
    # What the first index of a process loads is not this one's.
    small = PartitionIndex(8)
    small.add(1, np.eye(8, dtype=np.float32)[0])
    small.search(np.eye(8, dtype=np.float32)[0], 1)
    gc.collect()
    before = resident_bytes()
    start = time.perf_counter()
    loaded = load(path, **NAMES)
    load_s = time.perf_counter() - start
    if loaded is None:
        sys.exit(1)
    index, _ = loaded
    gc.collect()
    after = resident_bytes()
    per_entry = None if before is None or after is None else (after - before) / len(index)
    print(json.dumps({"load_s": round(load_s, 3), "bytes_per_entry": per_entry}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
