"""The affinity benchmark: its replay on traces that one can work out by hand, and its form."""

import gzip
import json
import subprocess
import sys
from pathlib import Path
from random import Random

from benchmarks.affinity_replay import (
    BLOCK_TOKENS,
    Engine,
    Request,
    pace_for,
    pooled_bound,
    replay,
    request,
    requests_of,
)
from benchmarks.affinity_rules import (
    LLMD,
    Dynamo,
    Greedy,
    Hearing,
    Ours,
    RoundRobin,
    SessionHash,
    SGLang,
)
from tierflow.serving.simulation.traces import read_trace

ROOT = Path(__file__).parents[1]


def asked(at: float, *ids: int, tail: int = 0) -> Request:
    return request(at, len(ids) * BLOCK_TOKENS - tail, ids)


def talks(count: int, turns: int) -> list[Request]:
    """Conversations that grow by a block each turn, behind one block that all share."""
    drawn = Random(0)
    rows = [
        asked(drawn.uniform(0, 5) + 20 * turn, 0, *range(100 * each, 100 * each + turn + 4), tail=9)
        for each in range(1, count + 1)
        for turn in range(turns)
    ]
    return sorted(rows, key=lambda each: each.at)


def test_only_full_blocks_and_never_the_last_token_are_cached() -> None:
    engine = Engine(10, pace=BLOCK_TOKENS)
    assert engine.serve(asked(0, 1, 2, 3, tail=1)) == (0, 3 - 1 / 512)
    assert engine.serve(asked(10, 1, 2, 3)) == (2, 1)
    assert engine.serve(asked(20, 1, 2, 3)) == (2, 1)
    assert engine.serve(asked(30, 1, 9, 3)) == (1, 2)


def test_a_full_cache_loses_the_end_of_what_was_not_used_for_longest() -> None:
    engine = Engine(4, pace=1)
    for each in (asked(0, 1, 2, 3), asked(1, 7, 8)):
        engine.serve(each)
    assert engine.cache.depth(asked(2, 1, 2, 3).chain) == 2


def test_requests_wait_for_those_before_them_and_metrics_count_who_waits() -> None:
    engine = Engine(10, pace=BLOCK_TOKENS)
    times = [engine.serve(asked(0, each))[1] for each in (1, 2, 3)]
    assert times == [1, 2, 3]
    assert engine.backlog(0.5) == 2.5 * BLOCK_TOKENS
    assert [engine.waiting(at) for at in (0.5, 1.5, 2.5)] == [2, 1, 0]
    assert len(engine.unfinished(1.5)) == 2


def test_the_pooled_bound_is_what_one_cache_of_all_hits() -> None:
    requests = [asked(at, each, each + 1, tail=1) for at, each in enumerate((1, 5, 1, 5))]
    assert pooled_bound(requests, 100) == 2 / 8
    assert pooled_bound(requests, 1) == 0


def test_round_robin_hits_nothing_where_turns_alternate_and_ours_nearly_everything() -> None:
    requests = talks(count=6, turns=8)
    pace = pace_for(requests, 4, 0.9)
    ours = replay(
        requests,
        4,
        200,
        pace,
        lambda engines: Ours(engines, weight=4.0, index_blocks=800, hearing=Hearing()),
    )
    turns = replay(requests, 4, 200, pace, RoundRobin)
    assert ours.hit_rate > 0.95 * pooled_bound(requests, 800) > turns.hit_rate
    assert ours.ttft_mean_s < turns.ttft_mean_s


def test_the_longest_match_alone_sends_everything_to_one_replica() -> None:
    requests = talks(count=6, turns=8)
    found = replay(requests, 4, 200, 1000, Greedy)
    assert found.work_max_over_mean == 4


def test_a_session_stays_together_and_is_not_the_block_that_all_share() -> None:
    requests = talks(count=20, turns=5)
    engines = [Engine(10, 1) for _ in range(4)]
    rule = SessionHash(engines, requests, 0)
    places: dict[int, set[int]] = {}
    for each in requests:
        places.setdefault(each.chain.hashes[1], set()).add(rule.choose(each))
    assert all(len(each) == 1 for each in places.values())
    assert len({place for each in places.values() for place in each}) > 1


def test_sglang_takes_a_good_match_and_else_the_least_loaded() -> None:
    engines = [Engine(10, 1) for _ in range(3)]
    engines[2].serve(asked(0, 1, 2, 3, 4, tail=1))
    rule = SGLang(engines)
    assert rule.choose(asked(1, 1, 2, 9, 9, tail=1)) == 2
    assert rule.choose(asked(1, 1, 9, 9, 9, tail=1)) == 0
    for number in range(70):
        engines[2].serve(asked(1, 50 + number))
    assert rule.choose(asked(2, 1, 2, 3, 4)) == 0


def test_dynamo_and_llmd_weigh_what_is_held_against_load() -> None:
    engines = [Engine(1000, 512) for _ in range(2)]
    engines[0].serve(asked(0, 1, 2, 3, 4, tail=1))
    for rule in (Dynamo(engines), LLMD(engines, precise=True, index_blocks=1)):
        assert rule.choose(asked(100, 1, 2, 3, 4)) == 0
    for number in range(300):
        engines[0].serve(asked(100, 50 + number))
    assert Dynamo(engines).choose(asked(101, 1, 2, 3, 4)) == 1


def write_trace(path: Path, count: int = 120) -> Path:
    drawn = Random(1)
    talks = [drawn.randrange(9) for _ in range(count)]
    rows = [
        {
            "timestamp": 250 * number,
            "input_length": 512 * 6 - 7,
            "output_length": 9,
            "hash_ids": [0, talk, *range(100 * talk + 10, 100 * talk + 14)],
        }
        for number, talk in enumerate(talks)
    ]
    text = "\n".join(map(json.dumps, rows)).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def test_a_trace_becomes_requests_of_full_blocks_and_a_tail(tmp_path: Path) -> None:
    requests = requests_of(read_trace(write_trace(tmp_path / "trace.jsonl.gz")).jobs)
    assert len(requests) == 120
    assert (requests[4].at, requests[4].blocks, len(requests[4].chain.hashes)) == (1.0, 6, 5)


def benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.affinity", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_writes_what_it_promises_and_says_which_bars_are_met(tmp_path: Path) -> None:
    path, trace = tmp_path / "found.json", write_trace(tmp_path / "trace.jsonl")
    small = ("--replicas", "3", "--blocks", "60", "--rounds", "1")

    done = benchmark("--trace", str(trace), "--json", str(path), *small)

    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text())
    names = {"random", "round_robin", "session_hash", "sglang", "llmd", "llmd_precise", "dynamo"}
    assert names | {"greedy", "ours", "exact", "events"} == set(found["rows"])
    figures = {"hit_rate", "work_max_over_mean", "ttft_mean_s", "ttft_p95_s"}
    assert all(set(row) == figures for row in found["rows"].values())
    assert found["round_robin_ttft_mean_s"] == found["rows"]["round_robin"]["ttft_mean_s"]
    assert {key: found[key] for key in figures - {"ttft_p95_s"}}.items() <= (
        found["rows"]["ours"].items()
    )
    assert set(found["decision_us"]) == {"8", "64", "1024"}
    assert 0 < found["hit_rate"] <= found["pooled_bound"]
    assert found["hearing"] == {"poll_s": 1.0, "delay_s": 0.5}
    assert len(found["bars"]) == 6
    assert len(found["machine"]["load"]) == 3
    assert all(f"{bar}: " in done.stdout for bar in found["bars"])


def test_a_trace_that_is_none_is_refused_with_what_is_wrong(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    trace.write_text('{"timestamp": 1, "input_length": 5}')
    done = benchmark("--trace", str(trace))
    assert done.returncode == 2
    assert "request 1 is not what its format promises" in done.stderr
    missing = benchmark("--trace", str(tmp_path / "none.jsonl"))
    assert missing.returncode == 2
    assert "is not there. Set --trace or TIERFLOW_DATA." in missing.stderr
