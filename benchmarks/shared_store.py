"""Shared store: what its calls take in a SQLite file and on a PostgreSQL server.

Run `python -m benchmarks.shared_store --json FILE`. Every number is a median of wall milliseconds
for one call, from one thread. The server is a real one on this machine, reached by a socket, with
`fsync` as named: the network of a real one comes on top.
"""

import argparse
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from importlib.metadata import version
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr

from tests.caching.answers import DAY_S, entry_of, key_of
from tests.postgres import PostgresServer
from tests.tracing.rows import a_row
from tierflow.caching.disk_store import DiskStore
from tierflow.caching.postgres_store import PostgresStore
from tierflow.caching.similar.postgres_store import PostgresSimilarStore
from tierflow.caching.similar.sqlite_store import SqliteSimilarStore
from tierflow.caching.similar.store import Asked, Observation, SimilarStore
from tierflow.caching.store import AnswerStore, Labels
from tierflow.tracing.sql_ledger import SqlLedger

from .running import write

DIMS = 384
TAIL = 1000
_ANSWER = "x" * 900


def median_ms(call: Callable[[], object], calls: int) -> float:
    """Return the median of a call's wall time in milliseconds."""
    took: list[float] = []
    for _ in range(calls):
        began = time.perf_counter()
        call()
        took.append((time.perf_counter() - began) * 1000)
    return median(took)


def measure_similar(store: SimilarStore, questions: int, calls: int) -> dict[str, float]:
    """Fill a similar store, then time its calls."""
    vectors = np.random.default_rng(0).normal(size=(questions + 3 * calls, DIMS))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    numbers = count()

    def asked() -> Asked:
        number = next(numbers)
        vector: NDArray[np.float32] = vectors[number]
        labels = Labels("triage", tags=("a",))
        return Asked("p", key_of(str(number)), f"Where is order {number}?", vector, "v", labels)

    began = time.perf_counter()
    last = 0
    for _ in range(questions):
        last = store.add(asked())
    filled_s = time.perf_counter() - began
    observation = Observation("s", "p", 0.0, (0.5,) * 12, 0.9, 1.0, True, True, "miss")
    after = store.changes("p", max(0, questions - TAIL - 1), 1)[0].seq
    store.nearest("p", vectors[0], 10)
    going = iter(range(last, 0, -1))
    return {
        "similar_fill_per_add_ms": filled_s * 1000 / questions,
        "similar_add_ms": median_ms(lambda: store.add(asked()), calls),
        "similar_observe_ms": median_ms(lambda: store.observe(observation), calls),
        "similar_version_ms": median_ms(store.version, calls),
        f"similar_changes_{TAIL}_ms": median_ms(lambda: store.changes("p", after, TAIL), 10),
        "similar_changes_none_ms": median_ms(lambda: store.changes("p", 10**9), calls),
        "similar_nearest_10_ms": median_ms(lambda: store.nearest("p", vectors[-1], 10), 10),
        "similar_remove_ms": median_ms(lambda: store.remove(next(going)), min(calls, questions)),
    }


def measure_answers(store: AnswerStore, calls: int) -> dict[str, float]:
    """Time an answer store's calls, each with another key."""
    now = time.time()
    entry = entry_of(_ANSWER, at=now, ttl_s=DAY_S)
    keys = [key_of(str(number)) for number in range(calls)]
    putting, getting, leasing = iter(keys), iter(keys), iter(keys)
    store.lease(key_of("first"), "ann", 10)
    return {
        "answer_put_ms": median_ms(lambda: store.put(next(putting), entry), calls),
        "answer_get_ms": median_ms(lambda: store.get(next(getting)), calls),
        "answer_lease_ms": median_ms(lambda: store.lease(next(leasing), "ann", 10), calls),
    }


def measure(place: Path | SecretStr, questions: int, calls: int) -> dict[str, float]:
    """Time all three stores at one place."""
    similar: SimilarStore
    answers: AnswerStore
    if isinstance(place, Path):
        similar = SqliteSimilarStore(place / "similar.db")
        answers = DiskStore(place / "cache", size_limit_mb=1024)
        ledger = SqlLedger(place / "ledger.db")
    else:
        similar = PostgresSimilarStore(place)
        answers = PostgresStore(place, size_limit_mb=1024)
        ledger = SqlLedger(place)
    with closing(similar), closing(answers), closing(ledger):
        ledger.add(a_row())
        return {
            "ledger_add_ms": median_ms(lambda: ledger.add(a_row()), calls),
            **measure_answers(answers, calls),
            **measure_similar(similar, questions, calls),
        }


@contextmanager
def postgres(*, fsync: bool) -> Generator[SecretStr]:
    """Run a server with one empty database, of which the URL is yielded."""
    server = PostgresServer(fsync=fsync)
    try:
        server.start()
        yield SecretStr(server.new_database())
    finally:
        server.remove()


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="file to write the medians to")
    parser.add_argument("--questions", type=int, default=10_000)
    parser.add_argument("--calls", type=int, default=500)
    chosen = parser.parse_args()
    medians: dict[str, dict[str, float]] = {}
    with TemporaryDirectory() as folder:
        medians["sqlite"] = measure(Path(folder), chosen.questions, chosen.calls)
    with postgres(fsync=True) as url:
        medians["postgres, fsync on"] = measure(url, chosen.questions, chosen.calls)
    for place, found in medians.items():
        for name, took_ms in found.items():
            print(f"{place:20} {name:26} {took_ms:9.4f}")
    versions = {name: version(name) for name in ("sqlalchemy", "psycopg", "numpy")}
    about = {"questions": chosen.questions, "calls": chosen.calls, "dims": DIMS}
    write({"medians_ms": medians, "versions": versions, **about}, chosen.json)


if __name__ == "__main__":
    main()
