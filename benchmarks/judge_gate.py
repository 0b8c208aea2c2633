"""Judge gate: which judges may accept, how often one that should not gets in, when drift is seen.

`judges`: verdicts of real judges in both orders (`judges/*.jsonl.gz` of the data folder). A verdict
counts as right if both orders name the labelled reply. Nothing is known of any pair of tiers there,
so the floor is 0.80; `lower` and `upper` are one-sided exact bounds with 95 % each. `pooled` opens
only if all strata do. `by_prompt` has the same for every kind of prompt. `held_out` calibrates on
one half of each stratum, over `--seeds` splits: of what opened, how often the other half, which is
small and so noisy itself, was below the floor.

`simulated`: judges that are right with probability r* - 0.01 on right and wrong replies alike, each
calibrated on items and pairs of its own, drawn anew; `opens_rate` is the worst of the scenarios.
Also below the floor, where no pair is known. `power` has judges above r* for comparison.

`drift`: audits with reliability 0.87 that falls to 0.70 after 500 labels, and 10,000 at 0.87.

    python -m benchmarks.judge_gate --json FILE
"""

import argparse
import gzip
import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from tierflow.bounds import upper_share
from tierflow.routing.gate import (
    Binding,
    Calibration,
    Choices,
    Compared,
    Drift,
    Pairs,
    Stratum,
    Tally,
    calibrate,
    kappa_of,
    loss_upper,
    reliability,
)

from .question_sets import folder
from .running import at_least_one, write

FLOOR, CONFIDENCE = 0.80, 0.95
PROMPT = "Vanilla"

R_STARS = (0.64, 0.70, 0.80, 0.90)
"""Of real pairs of tiers: Gemini flash and pro, Qwen 35B and 397B, GSM8K, ARC."""

_UNEQUAL = 0.25
"""The share of questions that tell the tiers apart, in the scenarios that no data give."""
_WEAK_RIGHT = 0.65

_BELOW = 0.01
_ABOVE = (0.05, 0.10)
_ITEMS = 1000
_BURN_IN, _LONGEST, _CALM = 500, 5000, 10_000

_console = Console(stderr=True)

Rows = Sequence[Mapping[str, Any]]
Found = dict[str, Any]


# --- real judges


def read(data: Path) -> list[dict[str, Any]]:
    """Read all verdicts of a data folder. Raises FileNotFoundError where there are none."""
    paths = sorted((data / "judges").glob("*.jsonl.gz"))
    if not paths:
        raise FileNotFoundError(f"{data} has no judges/*.jsonl.gz.")
    rows: list[dict[str, Any]] = []
    for path in paths:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            rows += map(json.loads, lines)
    return rows


def by_judge(rows: Rows, prompt: str) -> dict[str, list[Compared]]:
    """Return each judge's comparisons with a kind of prompt."""
    found: defaultdict[str, list[Compared]] = defaultdict(list)
    for row in rows:
        if row["prompt"] == prompt:
            found[row["judge"]].append(
                Compared(row["verdict"], row["verdict_swapped"], row["label"], row["stratum"])
            )
    return dict(sorted(found.items()))


def calibrated(judge: str, prompt: str, items: Sequence[Compared]) -> Calibration:
    """Return a judge's calibration as the product makes it."""
    bound_to = Binding(models=(), prompt=prompt, judge=judge)
    return calibrate(judge, items, bound_to, at=0.0, threshold=0.5, floor=FLOOR)


def figures(calibration: Calibration, items: Sequence[Compared]) -> Found:
    """Return what was found of a judge as JSON data, by stratum and pooled."""

    def of(stratum: Stratum, kept: Sequence[Compared]) -> Found:
        found = reliability(stratum.counts, CONFIDENCE)
        counts = stratum.counts
        return {
            "count": found.count,
            "accuracy": found.accuracy,
            "lower": found.accuracy_lower,
            "upper": found.accuracy_upper,
            "opens": stratum.opens,
            "abstained": counts.abstained if isinstance(counts, Choices) else 0,
            "kappa": kappa_of(kept),
            "reason": stratum.reason,
        }

    strata = {
        name: of(stratum, [each for each in items if each.stratum == name])
        for name, stratum in calibration.strata.items()
    }
    return {**strata, "pooled": of(calibration.pooled, items)}


def judges(rows: Rows, prompt: str) -> Found:
    """Return the figures of every judge with a kind of prompt."""
    return {
        judge: figures(calibrated(judge, prompt, items), items)
        for judge, items in by_judge(rows, prompt).items()
    }


def held_out(rows: Rows, seed: int, seeds: int) -> Found:
    """Return how what opened on one half of the labels does on the other."""
    opened = below = 0
    for prompt in sorted({row["prompt"] for row in rows}):
        for judge, items in by_judge(rows, prompt).items():
            for each in range(seed, seed + seeds):
                mixed = random.Random(each).sample(items, len(items))
                half = len(mixed) // 2
                rest: defaultdict[str, list[Compared]] = defaultdict(list)
                for item in mixed[half:]:
                    rest[item.stratum].append(item)
                for name in calibrated(judge, prompt, mixed[:half]).open_strata:
                    if rest[name]:
                        opened += 1
                        right = sum(item.right for item in rest[name])
                        below += right / len(rest[name]) < FLOOR
    return {"opened": opened, "below_floor": below, "splits": seeds}


# --- simulated judges

Random = np.random.Generator


def scenarios(data: Path) -> dict[str, tuple[float, float, float, float]]:
    """Return shares of questions that both, the weak, the strong and no tier answers rightly."""
    found: dict[str, tuple[float, float, float, float]] = {}
    for r_star in R_STARS:
        weak, strong = _UNEQUAL * (1 - r_star), _UNEQUAL * r_star
        both = _WEAK_RIGHT - weak
        found[f"r* {r_star:.2f}"] = (both, weak, strong, 1 - both - weak - strong)
    for path in sorted((data / "routellm").glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            right = [
                (bool(row["weak_correct"]), bool(row["strong_correct"]))
                for row in map(json.loads, lines)
            ]
        outcomes = ((True, True), (True, False), (False, True), (False, False))
        both, weak, strong, neither = (right.count(each) / len(right) for each in outcomes)
        found[path.name.partition(".")[0]] = (both, weak, strong, neither)
    return found


def opens_rate(
    shares: tuple[float, float, float, float], accuracy: float, runs: int, mixer: Random
) -> float:
    """Return in which share of runs the gate opens for a judge of this accuracy either way.

    How many replies are right, and how many pairs unequal, is held at what is to be expected.
    """
    both, weak, strong, _ = shares
    good, unequal = round(_ITEMS * (both + weak)), round(_ITEMS * (weak + strong))
    draws = np.stack(
        (
            mixer.binomial(good, accuracy, runs),
            mixer.binomial(_ITEMS - good, 1 - accuracy, runs),
            mixer.binomial(unequal, weak / (weak + strong), runs),
        ),
        axis=1,
    )
    opened = 0
    for kept, fooled, weak_only in draws.tolist():
        tally = Tally(
            accepted_right=kept,
            rejected_right=good - kept,
            accepted_wrong=fooled,
            rejected_wrong=_ITEMS - good - fooled,
        )
        equal = {"both": good - weak_only, "neither": _ITEMS - unequal - good + weak_only}
        seen = Pairs(weak_only=weak_only, strong_only=unequal - weak_only, **equal)
        opened += loss_upper(tally, seen, CONFIDENCE) <= 0
    return opened / runs


def floor_rate(accuracy: float, count: int, runs: int, mixer: Random) -> float:
    """Return the same where no pair is known, with so many comparisons."""
    right, seen = np.unique(mixer.binomial(count, accuracy, runs), return_counts=True)
    opened = 0
    for good, times in zip(right.tolist(), seen.tolist(), strict=True):
        counts = Choices(right=good, wrong=count - good)
        opened += times * (reliability(counts, CONFIDENCE).accuracy_lower >= FLOOR)
    return opened / runs


def simulated(data: Path, runs: int, mixer: Random, say: Callable[[str], None]) -> Found:
    """Return how often judges just below what is needed get in, and how often better ones."""
    below: dict[str, float] = {}
    power: dict[str, dict[str, float]] = {}
    for name, shares in scenarios(data).items():
        say(f"Simulating {runs} judges at {name} ...")
        r_star = shares[2] / (shares[1] + shares[2])
        below[name] = opens_rate(shares, r_star - _BELOW, runs, mixer)
        power[name] = {
            f"+{more:.2f}": opens_rate(shares, r_star + more, max(1, runs // 10), mixer)
            for more in _ABOVE
            if r_star + more < 1
        }
    floors = {
        f"floor, {count} labels": floor_rate(FLOOR - _BELOW, count, runs, mixer)
        for count in (50, 100, 300, 1000)
    }
    rates = below | floors
    return {
        "opens_rate": max(rates.values()),
        "runs": runs,
        "items": _ITEMS,
        "below": _BELOW,
        "by_scenario": rates,
        "power": power,
    }


# --- drift


def drifting(runs: int, seed: int, say: Callable[[str], None]) -> Found:
    """Return after how many labels a fall is seen, and how often a calm stream raises an alarm."""
    say(f"Watching {runs} judges fall from .87 to .70 ...")
    falls = [_labels_to_find(random.Random(f"fall {seed} {run}"), 0.70) for run in range(runs)]
    say(f"Watching {runs} judges that stay at .87, {_CALM} labels each ...")
    alarms = sum(_alarms(random.Random(f"calm {seed} {run}"), 0.87) for run in range(runs))
    ordered = sorted(falls)
    return {
        "median_labels": median(falls),
        "p90_labels": ordered[int(0.9 * (len(ordered) - 1))],
        "not_found": sum(each == _LONGEST for each in falls),
        "false_alarm_rate": alarms / runs,
        "false_alarm_upper": upper_share(alarms, runs, CONFIDENCE),
        "labels": _CALM,
        "runs": runs,
    }


def _labels_to_find(mixed: random.Random, share: float) -> int:
    drift = Drift(FLOOR)
    for _ in range(_BURN_IN):
        drift.add(mixed.random() < 0.87)
    if drift.alarm:
        # A false alarm is counted in the calm streams; here it would flatter.
        return _labels_to_find(mixed, share)
    for labels in range(1, _LONGEST):
        if drift.add(mixed.random() < share):
            return labels
    return _LONGEST


def _alarms(mixed: random.Random, share: float) -> bool:
    drift = Drift(FLOOR)
    return any(drift.add(mixed.random() < share) for _ in range(_CALM))


# --- the command


def show(found: Mapping[str, Any]) -> None:
    """Print the figures, and of each bar whether it was met."""
    table = Table(title=f"Judges at a floor of {FLOOR:.2f}", title_justify="left")
    for heading in ("judge", "stratum"):
        table.add_column(heading)
    for heading in ("count", "accuracy", "lower", "upper", "opens"):
        table.add_column(heading, justify="right")
    for judge, strata in found["judges"].items():
        for name, each in strata.items():
            shares = (f"{each[key]:.3f}" for key in ("accuracy", "lower", "upper"))
            table.add_row(judge, name, str(each["count"]), *shares, "yes" if each["opens"] else "")
    Console().print(table)
    for line in _lines(found):
        print(line)


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    met = {True: "met", False: "missed"}
    rate = found["simulated"]["opens_rate"]
    yield f"simulated judges just below: {rate:.2%} open, bar 5 %: {met[rate <= 0.05]}"
    drift = found["drift"]
    labels, alarms = drift["median_labels"], drift["false_alarm_rate"]
    yield f"drift .87 to .70: median {labels:g} labels, bar 200: {met[labels <= 200]}"
    yield f"false alarms in {drift['labels']} labels: {alarms:.2%}, bar 1 %: {met[alarms <= 0.01]}"
    held = found["held_out"]
    opened, below = held["opened"], held["below_floor"]
    yield f"opened on one half of the labels: {opened}; below the floor on the other: {below}"


def measure(rows: Rows, options: argparse.Namespace) -> Found:
    """Return all figures as JSON data."""
    mixer = np.random.default_rng(options.seed)
    prompts = {prompt: judges(rows, prompt) for prompt in sorted({row["prompt"] for row in rows})}
    return {
        "judges": prompts[options.prompt],
        "simulated": simulated(options.data, options.runs, mixer, _console.print),
        "drift": drifting(options.drift_runs, options.seed, _console.print),
        "held_out": held_out(rows, options.seed, options.seeds),
        "by_prompt": prompts,
        "parameters": {
            "seed": options.seed,
            "seeds": options.seeds,
            "prompt": options.prompt,
            "floor": FLOOR,
            "confidence": CONFIDENCE,
        },
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark. A missed bar is printed; it is no error."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.judge_gate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=folder().parent, metavar="DIR")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--seed", type=int, default=0, help="of simulations and splits")
    parser.add_argument("--seeds", type=at_least_one, default=20, help="splits of the labels")
    parser.add_argument("--prompt", help=f"kind of judge prompt (default: {PROMPT})")
    parser.add_argument("--runs", type=at_least_one, default=10_000, help="simulated judges")
    parser.add_argument("--drift-runs", type=at_least_one, default=1000)
    options = parser.parse_args(argv)
    try:
        rows = read(options.data)
    except FileNotFoundError as exc:
        parser.error(f"{exc} Set --data or TIERFLOW_DATA.")
    kinds = sorted({row["prompt"] for row in rows})
    if options.prompt is None:
        options.prompt = PROMPT if PROMPT in kinds else kinds[0]
    if options.prompt not in kinds:
        parser.error(f"No verdict with the prompt {options.prompt}. There: {', '.join(kinds)}.")
    found = measure(rows, options)
    show(found)
    write(found, options.json)


if __name__ == "__main__":
    main()
