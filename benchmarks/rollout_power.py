"""Rollout power: how often the controller rolls back without harm, and how soon with it.

Run `python -m benchmarks.rollout_power --json FILE`. The real controller judges simulated ramps: 5,
10, 25, 50 and 95 % of the units (5 % stay with the baseline), 12 looks each, with 200 and with
1,000 calls a look. Where it pauses undecided a patient operator goes on. Guardrails, all at once:
error rate (no more than the baseline's), p95 latency (1.3 times) and a judge's score (not below).

A/A: both arms have 2 % errors and a mean score of .80 (sd .25). `drift`: both go to 4 % and .74
over the ramp. `clustered`: ten calls a unit, with an intra-class correlation of .3. `detect_...`:
candidate units until the roll-back, median. `shadow_pairs`: pairs of scores (correlation .8, a true
drop of .05 before they are cut to [0, 1]) until harm is proven, median. Of 200 and 1,000 the worse
one is reported; `cells` has all.

Beside it, what is common elsewhere: `fixed`, a limit on each look by itself (errors above 5 %, a
score .05 below the baseline's), and `repeated`, tests at 5 % on all data at each look.
"""

import argparse
import signal
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import log, sqrt
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tierflow.rollouts import Rollout, Variant, error_rate, p95_latency, quality
from tierflow.rollouts.controller import judge, moved
from tierflow.rollouts.evidence import Pairs
from tierflow.rollouts.state import RolloutState
from tierflow.rollouts.verbs import promote, resume, start

from .rollout_ramps import LOOKS, SD, Look, Ramp, World, looks
from .running import at_least_one, end, write

_LOOK_S = 600.0
_CALLS = (200, 1000)
_METRICS = (error_rate(1.0), p95_latency(1.3), quality("judge"))
_ROLLOUT = Rollout(
    "simulated",
    candidate=Variant(tier="frontier"),
    guardrails=_METRICS,
    min_units=1,
    min_step_s=LOOKS * _LOOK_S,
    max_step_s=LOOKS * _LOOK_S,
)
_WORLDS = {
    "a/a": World(),
    "drift": World(errors_end=0.04, scores_end=0.74),
    "clustered": World(clustered=True),
    "errors 2 to 4": World(errors=(0.04, 0.02)),
    "errors 2 to 10": World(errors=(0.10, 0.02)),
    "score .80 to .75": World(scores=(0.75, 0.80)),
}
_BARS: Mapping[str, float] = {
    "false_rollback": 0.05,
    "false_rollback_drift": 0.05,
    "false_rollback_clustered": 0.05,
    "detect_2_to_10_units": 100,
    "detect_quality_units": 250,
    "missed_2_to_4": 0.08,
    "shadow_pairs": 250,
}
_Z = 1.645
_CORRELATION = 0.8
_MOST_PAIRS = 20_000

_console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Ends:
    """Candidate units until a roll-back, None where none came: ours, and those of others."""

    ours: int | None
    fixed: int | None
    repeated: int | None


def run(world: World, calls: int, seed: int) -> Ends:
    """Simulate one ramp, and let the controller and the others judge it."""
    seen = looks(world, calls, np.random.default_rng((seed, calls)))
    return Ends(_ours(seen), _fixed(seen), _repeated(seen))


def _ours(seen: Sequence[Look]) -> int | None:
    begun = start(_ROLLOUT, RolloutState(rollout=_ROLLOUT.name), "simulation", 0.0)
    state = begun.model_copy(update={"frozen": {each.name: 1.0 for each in _METRICS}})
    ramp, units = Ramp(), 0
    for number, look in enumerate(seen, 1):
        ramp.add(state.epoch, look)
        units += look.count(0)
        now = number * _LOOK_S
        judgement = judge(_ROLLOUT, state, ramp, now)
        if judgement.kind == "roll back":
            return units
        state = moved(_ROLLOUT, state, judgement, now) or state
        if state.phase == "paused":
            # What is undecided goes on; what looks broken is looked at, and found to be well.
            verb = promote if state.reason.startswith("Undecided") else resume
            state = verb(_ROLLOUT, state, "operator", now)
    return None


def _fixed(seen: Sequence[Look]) -> int | None:
    units = 0
    for look in seen:
        candidate, baseline = look.shown
        units += look.count(0)
        if not look.count(0):
            continue
        lost = candidate["quality (judge)"].mean() - baseline["quality (judge)"].mean()
        if candidate["error rate"].mean() > 0.05 or lost > 0.05:
            return units
    return None


def _repeated(seen: Sequence[Look]) -> int | None:
    units, whole = 0, Ramp()
    for look in seen:
        whole.add(0, look)
        units += look.count(0)
        ours, theirs = whole.arms[0]
        for name in ("error rate", "quality (judge)"):
            one, other = ours[name], theirs[name]
            if min(one.units, other.units) < 2:
                continue
            noise = sqrt(one.variance / one.units + other.variance / other.units)
            if noise and (one.mean - other.mean) / noise > _Z:
                return units
    return None


def shadow_pairs(seed: int) -> int:
    """Return how many pairs it takes to prove a drop of .05."""
    random = np.random.default_rng(seed)
    seen = Pairs(0.0, 0.03)
    while seen.harm < log(20) and seen.count < _MOST_PAIRS:
        baseline, other = random.normal(size=2)
        candidate = _CORRELATION * baseline + sqrt(1 - _CORRELATION**2) * other
        pair = np.clip([0.75 + SD * candidate, 0.80 + SD * baseline], 0, 1)
        seen.add(float(pair[0]), float(pair[1]))
    return seen.count


def measure(runs: int, seed: int, workers: int) -> dict[str, Any]:
    """Simulate all cells. Return the figures as JSON data."""
    seeds = range(seed, seed + runs)
    cells = dict[str, dict[str, Any]]()
    wanted = [(name, calls) for name in _WORLDS for calls in _CALLS]
    with ProcessPoolExecutor(workers) as pool:
        for name, calls in track(wanted, "Cells", console=_console):
            ends = list(pool.map(partial(run, _WORLDS[name], calls), seeds, chunksize=20))
            cells[f"{name}, {calls} calls"] = {
                way: _summary([getattr(each, way) for each in ends])
                for way in ("ours", "fixed", "repeated")
            }
        pairs = list(pool.map(shadow_pairs, seeds, chunksize=20))
    return {**_figures(cells), "shadow_pairs": float(median(pairs)), "cells": cells}


def _summary(ends: Sequence[int | None]) -> dict[str, float | None]:
    stopped = [each for each in ends if each is not None]
    return {
        "rolled_back": len(stopped) / len(ends),
        "units": float(median(stopped)) if stopped else None,
    }


def _figures(cells: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    def worst(world: str, figure: str) -> float:
        found = [cells[f"{world}, {calls} calls"]["ours"][figure] for calls in _CALLS]
        return max(float(each) for each in found if each is not None)

    missed = [1 - cells[f"errors 2 to 4, {calls} calls"]["ours"]["rolled_back"] for calls in _CALLS]
    return {
        "false_rollback": worst("a/a", "rolled_back"),
        "false_rollback_drift": worst("drift", "rolled_back"),
        "false_rollback_clustered": worst("clustered", "rolled_back"),
        "detect_2_to_10_units": worst("errors 2 to 10", "units"),
        "detect_quality_units": worst("score .80 to .75", "units"),
        "missed_2_to_4": max(missed),
    }


def show(found: Mapping[str, Any]) -> None:
    """Print all cells, and of each bar whether it was met."""
    table = Table(title="Roll-backs: share of runs, candidate units (median)", title_justify="left")
    for heading in ("cell", "controller", "fixed limit", "repeated tests"):
        table.add_column(heading, justify="left" if heading == "cell" else "right")
    for name, cell in found["cells"].items():
        shown = (f"{each['rolled_back']:.1%}, {each['units'] or 0:,.0f}" for each in cell.values())
        table.add_row(name, *shown)
    console = Console()
    console.print(table)
    for name, bar in _BARS.items():
        met = "met" if found[name] <= bar else "missed"
        console.print(f"{name} {found[name]:.4g}, bar {bar:g}: {met}")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark. A missed bar is printed; it is no error."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rollout_power", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--runs", type=at_least_one, default=1000, help="ramps in each cell")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--workers", type=at_least_one, default=2, help="processes")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, end)
    found = measure(options.runs, options.seed, options.workers)
    found["parameters"] = {"runs": options.runs, "seed": options.seed}
    show(found)
    write(found, options.json)


if __name__ == "__main__":
    main()
