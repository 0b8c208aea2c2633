"""Traces: Mooncake's and Azure's files become jobs; what is none is named."""

import gzip
import json
from pathlib import Path

import pytest

from tierflow.errors import SimulationError
from tierflow.serving.simulation.traces import read_trace

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:03.9799600,4808,10
2023-11-16 18:17:04.4799600,110,0
"""


def mooncake(path: Path, *rows: dict[str, object]) -> Path:
    text = "\n".join(map(json.dumps, rows)) + "\n"
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def row(at: int, tokens: int, written: int, *names: int) -> dict[str, object]:
    return {
        "timestamp": at,
        "input_length": tokens,
        "output_length": written,
        "hash_ids": list(names),
    }


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz"])
def test_of_mooncakes_blocks_only_full_ones_are_shared(tmp_path: Path, ending: str) -> None:
    path = mooncake(tmp_path / f"t.{ending}", row(3000, 1100, 5, 7, 8, 9), row(1000, 512, 2, 7))
    trace = read_trace(path)
    assert [each.at_ms for each in trace.jobs] == [0, 2000]
    assert [each.blocks for each in trace.jobs] == [(7,), (7, 8)]
    assert trace.block_tokens == 512


@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_azures_requests_share_nothing_and_write_one_token_at_least(
    tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"t.{ending}"
    path.write_bytes(gzip.compress(AZURE.encode()) if ending == "csv.gz" else AZURE.encode())
    trace = read_trace(path)
    assert [(each.at_ms, each.input_tokens, each.output_tokens) for each in trace.jobs] == [
        (0, 4808, 10),
        (500, 110, 1),
    ]
    assert trace.hours == pytest.approx(0.5 / 3600)
    assert not any(each.blocks for each in trace.jobs)


def test_twice_the_rate_is_half_the_time_and_a_limit_leaves_the_first(tmp_path: Path) -> None:
    rows = [row(1000 * at, 10, 1) for at in range(5)]
    trace = read_trace(mooncake(tmp_path / "t.jsonl", *rows), rate=2, limit=3)
    assert [each.at_ms for each in trace.jobs] == [0, 500, 1000]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.parquet", "", "ends in neither"),
        ("t.jsonl", "", "no requests"),
        ("t.jsonl", '{"timestamp": 1}', "request 1 .*input_length"),
        ("t.jsonl", "not json", "request 1 "),
        ("t.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\nnoon,1,2\n", "request 1 .*noon"),
        ("t.csv", "a,b\n1,2\n", "request 1 .*TIMESTAMP"),
        ("t.csv.gz", "not gzipped", "cannot be read"),
    ],
)
def test_what_is_no_trace_is_named(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(SimulationError, match=said) as caught:
        read_trace(tmp_path / name)
    assert name in str(caught.value)
