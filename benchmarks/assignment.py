"""Assignment: what one decision of a rollout costs, and whether a unit ever changes back.

Run `python -m benchmarks.assignment --json FILE`. `us_per_decision`: microseconds of CPU for
`arm_of`, the median of the rounds; our bar is 5. `flips`: units that had the baseline, then the
candidate, then the baseline again while the weight rose from 0 to 100 % in steps of 1 %; our bar is
0. `moved`: units that changed over to the candidate on the way, once each.
"""

import argparse
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from tierflow.rollouts import arm_of

from .running import at_least_one, write

_BARS = {"us_per_decision": 5.0, "flips": 0}
_RAMP = tuple(percentage / 100 for percentage in range(101))
_NAME = "shorter prompt"


def us_per_decision(units: Sequence[str]) -> float:
    """Return microseconds of CPU for one decision."""
    began = time.process_time_ns()
    for unit in units:
        arm_of(_NAME, unit, 0.25)
    return (time.process_time_ns() - began) / 1000 / len(units)


def changes(units: Sequence[str]) -> tuple[int, int]:
    """Return how many units changed to the candidate over the ramp, and how many back again."""
    moved = flips = 0
    for unit in units:
        arms = [arm_of(_NAME, unit, weight) for weight in _RAMP]
        steps = list(pairwise(arms))
        moved += ("baseline", "candidate") in steps
        flips += ("candidate", "baseline") in steps
    return moved, flips


def measure(units: int, rounds: int) -> dict[str, Any]:
    """Return the figures as JSON data."""
    named = [f"{number:08x}-run" for number in range(units)]
    took = [us_per_decision(named) for _ in range(rounds)]
    moved, flips = changes(named)
    return {
        "us_per_decision": median(took),
        "flips": flips,
        "moved": moved,
        "rounds_us": took,
        "parameters": {"units": units, "rounds": rounds, "weights": len(_RAMP)},
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark. A missed bar is printed; it is no error."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.assignment", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--units", type=at_least_one, default=20_000, help="units of the ramp")
    parser.add_argument("--rounds", type=at_least_one, default=9, help="rounds of the timing")
    options = parser.parse_args(argv)
    found = measure(options.units, options.rounds)
    for name, bar in _BARS.items():
        met = "met" if found[name] <= bar else "missed"
        print(f"{name} {found[name]:.4g}, bar {bar:g}: {met}")
    print(f"{found['moved']:,} of {options.units:,} units changed to the candidate on the way")
    write(found, options.json)


if __name__ == "__main__":
    main()
