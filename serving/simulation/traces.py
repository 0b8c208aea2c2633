"""Traces: files of requests as they came, read into jobs. Never their text."""

import csv
import gzip
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from ...errors import SimulationError
from .jobs import Job

_MOONCAKE_BLOCK = 512
_OTHER_BLOCK = 16


@dataclass(frozen=True, slots=True)
class Trace:
    """Jobs in the order of their arrival, and how many tokens each of their blocks has."""

    name: str
    jobs: tuple[Job, ...]
    block_tokens: int

    @property
    def hours(self) -> float:
        """From the first request to the last."""
        return (self.jobs[-1].at_ms - self.jobs[0].at_ms) / 3_600_000


def read_trace(path: Path, *, rate: float = 1.0, limit: int | None = None) -> Trace:
    """Return the first `limit` requests of a trace, `rate` times as dense. Raises SimulationError.

    `.jsonl` as Mooncake writes it (`timestamp` in ms, `input_length`, `output_length`, `hash_ids`
    of 512 tokens each), `.csv` as Azure does (`TIMESTAMP`, `ContextTokens`, `GeneratedTokens`),
    both also as `.gz`. Sources: kvcache-ai/Mooncake and Azure/AzurePublicDataset on GitHub.
    """
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    if kind not in {"jsonl", "csv"}:
        raise SimulationError(
            f"{path.name} is no trace: its name ends in neither .jsonl (Mooncake) nor .csv (Azure),"
            " with .gz or without. Rename it, or convert it to one of these."
        )
    try:
        with _opened(path) as lines:
            rows = islice(_mooncake(lines) if kind == "jsonl" else _azure(lines), limit)
            jobs = list(_jobs(path.name, rows))
    except (OSError, EOFError, UnicodeDecodeError) as exc:
        raise SimulationError(
            f"{path} cannot be read ({type(exc).__name__}). Is it whole?"
        ) from exc
    if not jobs:
        raise SimulationError(f"{path.name} has no requests. Give a trace with some.")
    jobs.sort(key=lambda each: each.at_ms)
    start = jobs[0].at_ms
    dense = tuple(
        Job(name, (each.at_ms - start) / rate, each.input_tokens, each.output_tokens, each.blocks)
        for name, each in enumerate(jobs)
    )
    return Trace(path.name, dense, _MOONCAKE_BLOCK if kind == "jsonl" else _OTHER_BLOCK)


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def _jobs(name: str, rows: Iterable[tuple[float, int, int, list[int]]]) -> Iterator[Job]:
    at = 1
    found = iter(rows)
    while True:
        try:
            ms, tokens, written, names = next(found)
        except StopIteration:
            return
        except (KeyError, TypeError, ValueError) as exc:
            raise SimulationError(
                f"{name}: request {at} is not what its format promises ({type(exc).__name__}: "
                f"{exc}). Mend or remove it."
            ) from exc
        # A request without a token to read or to write still takes an iteration.
        full = tuple(names[: tokens // _MOONCAKE_BLOCK])
        yield Job(at, ms, max(1, tokens), max(1, written), full)
        at += 1


def _mooncake(lines: Iterable[str]) -> Iterator[tuple[float, int, int, list[int]]]:
    for line in lines:
        if line.strip():
            row: dict[str, Any] = json.loads(line)
            tokens, written = int(row["input_length"]), int(row["output_length"])
            yield float(row["timestamp"]), tokens, written, list(row.get("hash_ids", ()))


def _azure(lines: Iterable[str]) -> Iterator[tuple[float, int, int, list[int]]]:
    for row in csv.DictReader(lines):
        ms = datetime.fromisoformat(row["TIMESTAMP"]).timestamp() * 1000
        yield ms, int(row["ContextTokens"]), int(row["GeneratedTokens"]), []
