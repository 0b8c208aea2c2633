"""KV-cache-aware routing: hits, work and waiting on a recorded trace, beside other routers' rules.

Run `python -m benchmarks.affinity --trace FILE --replicas 8 --blocks 4096 --json FILE`. A trace is
in Mooncake's form. Replicas read one request after the other, at the pace at which their load is
0.9 if nothing is cached. Other rules know the replicas' caches and backlogs exactly. Ours knows
what it sent, and hears late and now and then how many requests wait: `hearing` says how late.

`hit_rate`: of blocks of 512 tokens. `pooled_bound`: that of one cache of all replicas' size.
`work_max_over_mean`: tokens read, of the busiest replica. `ttft`: waiting and reading.
`decision_us`: CPU microseconds of a placement by the number of replicas, the mean of the round that
was disturbed least.
`rows`: `exact` is our rule if it knew what the others know, `events` with exact caches alone.
"""

import argparse
import gc
import heapq
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tierflow.errors import SimulationError
from tierflow.pools import PREFILL_WEIGHT
from tierflow.serving.simulation.traces import read_trace

from .affinity_replay import (
    Engine,
    Figures,
    MakeRule,
    Request,
    pace_for,
    pooled_bound,
    replay,
    requests_of,
)
from .affinity_rules import (
    LLMD,
    Dynamo,
    Exact,
    Greedy,
    Hearing,
    Ours,
    RandomRule,
    RoundRobin,
    SessionHash,
    SGLang,
)
from .running import at_least_one, machine, write

_LOAD = 0.9
_INDEX_TIMES = 4
_DECIDED = 4_000
_SIZES = (8, 64, 1_024)
_OURS = {"ours", "exact", "events"}
_DEFAULT = Path(__file__).parents[2] / "shared" / "data"


def default_trace() -> Path:
    """Return where the trace lies unless the command line says so."""
    data = Path(os.environ.get("TIERFLOW_DATA", _DEFAULT))
    return data / "traces" / "mooncake_conversation.jsonl.gz"


def rules(
    requests: Sequence[Request], blocks: int, weight: float, seed: int, hearing: Hearing
) -> dict[str, MakeRule]:
    """Return every rule by name."""
    index = _INDEX_TIMES * blocks
    ours = partial(Ours, weight=weight, index_blocks=index, hearing=hearing)
    return {
        "random": partial(RandomRule, seed=seed),
        "round_robin": RoundRobin,
        "session_hash": partial(SessionHash, requests=requests, seed=seed),
        "sglang": SGLang,
        "llmd": partial(LLMD, precise=False, index_blocks=index),
        "llmd_precise": partial(LLMD, precise=True, index_blocks=index),
        "dynamo": Dynamo,
        "greedy": Greedy,
        "exact": partial(Exact, weight=weight),
        "events": partial(ours, events=True),
        "ours": ours,
    }


def decision_us(
    requests: Sequence[Request], replicas: int, blocks: int, weight: float, pace: float
) -> float:
    """Return CPU microseconds of a placement: `pace` is of all replicas, however many they are."""
    engines = [Engine(blocks, pace / replicas) for _ in range(replicas)]
    rule = Ours(engines, weight=weight, index_blocks=_INDEX_TIMES * blocks, hearing=Hearing())
    ends: list[tuple[float, int]] = []
    spent = 0
    # What the collector looks at is to be the fleet's, and not the trace's and the replays'.
    gc.collect()
    gc.freeze()
    for each in requests:
        while ends and ends[0][0] <= each.at:
            rule.now, ticket = heapq.heappop(ends)
            rule.fleet.ended(ticket)
        rule.now = each.at
        began = time.thread_time_ns()
        placement = rule.fleet.place(each.chain)
        spent += time.thread_time_ns() - began
        assert placement is not None, "the fleet has no members"
        engine = engines[rule.numbers[placement.replica]]
        engine.serve(each)
        heapq.heappush(ends, (engine.free_at, placement.ticket))
    gc.unfreeze()
    return spent / 1000 / len(requests)


def measure(
    requests: Sequence[Request], options: Mapping[str, Any], hearing: Hearing
) -> dict[str, Any]:
    """Return the figures as JSON data."""
    replicas, blocks, weight = options["replicas"], options["blocks"], options["weight"]
    pace = pace_for(requests, replicas, _LOAD)
    made = rules(requests, blocks, weight, options["seed"], hearing)
    rows = {name: replay(requests, replicas, blocks, pace, make) for name, make in made.items()}
    decided = requests[:_DECIDED]
    decisions = {
        str(size): min(
            decision_us(decided, size, blocks, weight, replicas * pace)
            for _ in range(options["rounds"])
        )
        for size in _SIZES
    }
    ours = rows["ours"]
    found: dict[str, Any] = {
        "hit_rate": ours.hit_rate,
        "pooled_bound": pooled_bound(requests, replicas * blocks),
        "work_max_over_mean": ours.work_max_over_mean,
        "ttft_mean_s": ours.ttft_mean_s,
        "round_robin_ttft_mean_s": rows["round_robin"].ttft_mean_s,
        "decision_us": decisions,
        "rows": {name: asdict(row) for name, row in rows.items()},
        "hearing": asdict(hearing),
        "parameters": {
            **options,
            "requests": len(requests),
            "blocks_a_request": sum(len(each.chain.hashes) for each in requests) / len(requests),
            "load_without_cache": _LOAD,
            "pace_tokens_per_s": pace,
            "index_blocks": _INDEX_TIMES * blocks,
        },
        "machine": machine(),
    }
    return {**found, "bars": bars(found, rows)}


def bars(found: Mapping[str, Any], rows: Mapping[str, Figures]) -> dict[str, bool]:
    """Return of each bar whether it was met."""
    others = min(row.ttft_mean_s for name, row in rows.items() if name not in _OURS)
    decisions = found["decision_us"]
    return {
        "hit_rate >= 0.95 of the bound": found["hit_rate"] >= 0.95 * found["pooled_bound"],
        "work_max_over_mean <= 1.25": found["work_max_over_mean"] <= 1.25,
        "ttft <= 0.40 of round robin": (
            found["ttft_mean_s"] <= 0.40 * found["round_robin_ttft_mean_s"]
        ),
        "ttft below every other rule": found["ttft_mean_s"] < others,
        "decision <= 50 us at 64 replicas": decisions["64"] <= 50,
        "decision sublinear from 64 to 1,024": decisions["1024"] < 1024 / 64 * decisions["64"],
    }


def show(found: Mapping[str, Any]) -> None:
    """Print the figures, and of each bar whether it was met."""
    options, bound = found["parameters"], found["pooled_bound"]
    title = f"{options['requests']:,} requests, {options['replicas']} replicas"
    table = Table(title=title, title_justify="left")
    for heading in ("rule", "hit rate", "of the bound", "work max/mean", "TTFT s", "p95 s"):
        table.add_column(heading, justify="left" if heading == "rule" else "right")
    for name, row in found["rows"].items():
        share = f"{row['hit_rate'] / bound:.3f}" if bound else "-"
        times = (f"{row[key]:.3f}" for key in ("work_max_over_mean", "ttft_mean_s", "ttft_p95_s"))
        table.add_row(name, f"{row['hit_rate']:.3f}", share, *times)
    console = Console()
    console.print(table)
    decisions = (f"{us:.1f} us at {size}" for size, us in found["decision_us"].items())
    console.print(f"A decision takes {', '.join(decisions)} replicas")
    for bar, is_met in found["bars"].items():
        console.print(f"{bar}: {'met' if is_met else 'missed'}")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark. A missed bar is printed; it is no error."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.affinity", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--trace", type=Path, default=default_trace(), metavar="FILE")
    parser.add_argument("--replicas", type=at_least_one, default=8)
    parser.add_argument("--blocks", type=at_least_one, default=4096, help="a replica's cache")
    parser.add_argument(
        "--weight", type=float, default=PREFILL_WEIGHT, help="the pool's prefill_weight"
    )
    parser.add_argument("--poll-s", type=float, default=1.0, help="between two looks at /metrics")
    parser.add_argument("--delay-s", type=float, default=0.5, help="how old they are by then")
    parser.add_argument("--requests", type=at_least_one, help="take so many of the first only")
    parser.add_argument("--rounds", type=at_least_one, default=5, help="rounds of the timing")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    if not options.trace.exists():
        parser.error(f"{options.trace} is not there. Set --trace or TIERFLOW_DATA.")
    try:
        requests = requests_of(read_trace(options.trace, limit=options.requests).jobs)
    except SimulationError as exc:
        parser.error(str(exc))
    names = ("replicas", "blocks", "weight", "rounds", "seed")
    chosen = {name: getattr(options, name) for name in names}
    found = measure(requests, chosen, Hearing(options.poll_s, options.delay_s))
    show(found)
    write(found, options.json)


if __name__ == "__main__":
    main()
