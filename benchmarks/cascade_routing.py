"""Cascade routing: quality for money from a pool of models, against routing and cascading.

Run `python -m benchmarks.cascade_routing --json FILE`. Everything, prices too, is learned on 70 %
of the items; curves are measured on the others. An `auc` is 100 times the area under quality
against mean cost, between the cheapest and the dearest model's cost, over that width. `auc_linear`
mixes single models at random. Budgets lie closer together where money is short (t squared).

`saving`: of the best single model's cost, at its quality as reached on the training items. Every
interval is of the mean over seeds, from resampled items: an item is drawn for all seeds at once.
"""

import argparse
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tierflow.routing.learned import Recordings
from tierflow.routing.supermodels import (
    Lesson,
    Outcome,
    Reach,
    Reply,
    State,
    Stop,
    Strategy,
    Tables,
    replay,
    study,
)
from tierflow.routing.supermodels.estimates import bits

from .question_sets import folder
from .recorded_answers import PRICES, mmlu_pro, split
from .running import at_least_one, end, write

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

_BUDGETS = 12
_DRAWS = 1000
_TRAIN = 0.7
_TIMED = 50
_BARS = {"auc": 73.5, "saving": 0.55}

_console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Curve:
    """What a strategy did with b budgets on n items: quality and USD, both (b, n)."""

    quality: Floats
    cost_usd: Floats

    def area(self, weights: Floats, low: float, high: float) -> Floats:
        """Return 100 times the area for each of (draws, n) weights that sum to 1."""
        qualities: Floats = weights @ self.quality.T
        costs: Floats = weights @ self.cost_usd.T
        grid: Floats = np.linspace(low, high, 400)
        interpolated: Any = np.interp
        return np.array(
            [
                100 * interpolated(grid, cost[order], quality[order]).mean()
                for cost, quality in zip(costs, qualities, strict=True)
                for order in (np.argsort(cost),)
            ]
        )


@dataclass(frozen=True, slots=True)
class Seed:
    """One split measured: figures, each (1 + draws,), the first without resampling."""

    figures: Mapping[str, Floats]
    decision_ms: float


def measure(recordings: Recordings, seed: int, weights: Floats, trials: int) -> Seed:
    """Learn and measure one split. `weights`: (1 + draws, items), the first all ones."""
    train, test = split(len(recordings), (_TRAIN, 1 - _TRAIN), seed)
    lesson = study(recordings.at(train))
    readings = lesson.estimates.read_all(recordings.at(test))
    tables = lesson.tables_of(recordings.at(test), readings)
    published = lesson.published()
    aimed = published.tables_of(recordings.at(test), readings)
    drawn = weights[:, test] / weights[:, test].sum(axis=1, keepdims=True)
    known = lesson.tables.paid_usd.mean(axis=0)
    spread = np.linspace(0, 1, _BUDGETS + 1)[1:] ** 2
    budgets = known.min() + spread * (known.max() - known.min())
    curves = {
        "routing": _curve(lesson, tables, Reach.one(lesson.order), budgets),
        "cascade": _curve(lesson, tables, Reach.prefixes(lesson.order), budgets),
        "cascade_routing": _curve(lesson, tables, Reach.anything(lesson.order), budgets, trials),
        "gaussian": _curve(published, aimed, Reach.anything(lesson.order), budgets),
        "linear": _linear(lesson.tables, tables),
        "threshold": _thresholds(lesson, tables, budgets),
        "oracle": _oracle(tables, budgets),
    }
    paid = tables.paid_usd.mean(axis=0)
    low, high = float(paid.min()), float(paid.max())
    figures = {f"auc_{name}": curve.area(drawn, low, high) for name, curve in curves.items()}
    strategy, saved = _saving(lesson, tables, drawn)
    return Seed(figures | saved, _decision_ms(strategy, recordings.at(test)))


def _curve(lesson: Lesson, tables: Tables, reach: Reach, budgets: Floats, trials: int = 0) -> Curve:
    found: list[Outcome] = []
    for budget in budgets:
        strategy = lesson.strategy(reach, budget_usd=float(budget), trials=trials)
        found.append(replay(tables, reach, strategy.prices))
    return _with_cheapest(found, tables)


def _with_cheapest(found: Sequence[Outcome], tables: Tables) -> Curve:
    cheapest = int(tables.paid_usd.mean(axis=0).argmin())
    return Curve(
        np.stack([tables.right[:, cheapest], *(each.quality for each in found)]),
        np.stack([tables.paid_usd[:, cheapest], *(each.cost_usd for each in found)]),
    )


def _linear(known: Tables, tables: Tables) -> Curve:
    """Mix single models at random: those that no mix of others beat on the training items."""
    cost, right = known.paid_usd.mean(axis=0), known.right.mean(axis=0)
    at = int(cost.argmin())
    kept = [at]
    while dearer := [m for m in range(len(cost)) if cost[m] > cost[at] and right[m] > right[at]]:
        at = max(dearer, key=lambda m: (right[m] - right[kept[-1]]) / (cost[m] - cost[kept[-1]]))
        kept.append(at)
    return Curve(tables.right.T[kept], tables.paid_usd.T[kept])


def _thresholds(lesson: Lesson, tables: Tables, budgets: Floats) -> Curve:
    """Cascade plainly: escalate while the chance of being right is under one threshold."""
    lines = np.linspace(0, 1, 101)
    known = [_stop_at(lesson.tables, lesson.order, line) for line in lines]
    spent = np.array([each.cost_usd.mean() for each in known])
    found: list[Outcome] = []
    for budget in budgets:
        line = lines[np.nonzero(spent <= budget)[0].max()]
        found.append(_stop_at(tables, lesson.order, float(line)))
    return _with_cheapest(found, tables)


def _stop_at(tables: Tables, order: Sequence[int], line: float) -> Outcome:
    rows = np.arange(len(tables.right))
    run = np.full(len(rows), 1 << order[0], np.intp)
    for model in order[1:]:
        going = tables.quality[run, rows, run] < line
        # Who stopped before stays: its set lacks the model just before this one.
        going &= (run >> order[order.index(model) - 1] & 1) == 1
        run[going] |= 1 << model
    ran = bits(tables.right.shape[1])[run]
    quality = tables.right[rows, tables.chosen[run, rows]]
    return Outcome(quality, (tables.paid_usd * ran).sum(axis=1), run)


def _oracle(tables: Tables, budgets: Floats) -> Curve:
    """Know every outcome beforehand: pay for the least extra cost per answer made right."""
    rows = np.arange(len(tables.right))
    cheapest = int(tables.paid_usd.mean(axis=0).argmin())
    costs = np.where(tables.right > 0, tables.paid_usd, np.inf)
    best = np.where(np.isfinite(costs.min(axis=1)), costs.argmin(axis=1), cheapest)
    gained = tables.right[rows, best] > tables.right[:, cheapest]
    extra = np.where(gained, tables.paid_usd[rows, best] - tables.paid_usd[:, cheapest], np.inf)
    found: list[Outcome] = []
    order = np.argsort(extra)
    spent = tables.paid_usd[:, cheapest].mean() + np.cumsum(extra[order]) / len(rows)
    for budget in budgets:
        chosen = np.full(len(rows), cheapest)
        helped = order[spent <= budget]
        chosen[helped] = best[helped]
        paid = tables.paid_usd[rows, chosen]
        found.append(Outcome(tables.right[rows, chosen], paid, 1 << chosen))
    return _with_cheapest(found, tables)


def _saving(lesson: Lesson, tables: Tables, drawn: Floats) -> tuple[Strategy, dict[str, Floats]]:
    """Reach the best single model's quality of the training items as cheaply as possible."""
    known = lesson.tables.right.mean(axis=0)
    best = int(known.argmax())
    figures: dict[str, Floats] = {}
    reaches = {"routing": Reach.one, "cascade": Reach.prefixes, "cascade_routing": Reach.anything}
    paid = drawn @ tables.paid_usd[:, best]
    right = drawn @ tables.right[:, best]
    strategy = lesson.strategy(Reach.anything(lesson.order), budget_usd=1.0, trials=0)
    for name, reach in reaches.items():
        try:
            strategy = lesson.strategy(
                reach(lesson.order), min_quality=float(known[best]), trials=0
            )
            outcome = replay(tables, strategy.reach, strategy.prices)
        except ValueError:  # no price reaches the quality, so the best model is asked itself
            alone = np.full(len(tables.right), 1 << best)
            outcome = Outcome(tables.right[:, best], tables.paid_usd[:, best], alone)
        figures[f"saving_{name}"] = 1 - drawn @ outcome.cost_usd / paid
        figures[f"delta_pp_{name}"] = 100 * (drawn @ outcome.quality - right)
    judged = _judged(tables, lesson.order)
    figures["saving_perfect_judge"] = 1 - drawn @ judged.cost_usd / paid
    figures["delta_pp_perfect_judge"] = 100 * (drawn @ judged.quality - right)
    for at, model in enumerate(lesson.estimates.models):
        figures[f"quality {model}"] = drawn @ tables.right[:, at]
        figures[f"usd {model}"] = drawn @ tables.paid_usd[:, at]
    everything = len(tables.chosen) - 1
    rows = np.arange(len(tables.right))
    figures["quality of all run"] = drawn @ tables.right[rows, tables.chosen[everything]]
    return strategy, figures


def _judged(tables: Tables, order: Sequence[int]) -> Outcome:
    """Cascade with a judge that knows; the last answer is taken where none is right."""
    rows = np.arange(len(tables.right))
    quality, paid = np.zeros(len(rows)), np.zeros(len(rows))
    for model in order:
        going = quality < 1
        paid[going] += tables.paid_usd[going, model]
        quality[going] = tables.right[going, model]
    return Outcome(quality, paid, rows * 0)


def _decision_ms(strategy: Strategy, recordings: Recordings) -> float:
    took: list[float] = []
    for row in range(min(_TIMED, len(recordings))):
        state = State(recordings.asks[row], recordings.strata[row])
        while True:
            began = time.perf_counter()
            decision = strategy.next(state)
            took.append(time.perf_counter() - began)
            if isinstance(decision, Stop):
                break
            said = recordings[decision.model]
            reply = Reply(said.texts[row], said.values[row])
            state = State(state.ask, state.stratum, {**state.replies, decision.model: reply})
    return 1000 * float(np.median(took))


def report(seeds: Sequence[Seed], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the means over seeds and their intervals as JSON data."""
    means = {
        name: np.mean([each.figures[name] for each in seeds], axis=0) for name in seeds[0].figures
    }
    single = max(("routing", "cascade"), key=lambda name: float(means[f"auc_{name}"][0]))
    ours = means["auc_cascade_routing"]
    gain = ours - means[f"auc_{single}"]
    return {
        "auc": float(ours[0]),
        "auc_ci": _interval(ours),
        **{
            f"auc_{name}": float(means[f"auc_{name}"][0])
            for name in ("linear", "routing", "cascade", "threshold", "gaussian", "oracle")
        },
        "better_single_strategy": single,
        "gain": float(gain[0]),
        "gain_ci": _interval(gain),
        "gain_over_gaussian_ci": _interval(ours - means["auc_gaussian"]),
        "saving": float(means["saving_cascade_routing"][0]),
        "saving_ci": _interval(means["saving_cascade_routing"]),
        "accuracy_delta_pp": float(means["delta_pp_cascade_routing"][0]),
        "accuracy_delta_pp_ci": _interval(means["delta_pp_cascade_routing"]),
        "decision_ms": float(np.median([each.decision_ms for each in seeds])),
        "details": {
            name: {"mean": float(values[0]), "ci": _interval(values)}
            for name, values in means.items()
        },
        "parameters": dict(options),
        "not_replayed": "The paper's 14 points are of SWE-Bench with a perfect judge.",
    }


def _interval(values: Floats) -> list[float]:
    return [float(each) for each in np.quantile(values[1:], (0.025, 0.975))]


def show(found: Mapping[str, Any]) -> None:
    """Print the figures, and of each bar whether it was met."""
    table = Table(title="Cascade routing, means over seeds", title_justify="left")
    for heading in ("what", "mean", "95 %"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for name, each in found["details"].items():
        digits = 6 if name.startswith("usd") else 3
        low, high = (f"{end:.{digits}f}" for end in each["ci"])
        table.add_row(name, f"{each['mean']:.{digits}f}", f"{low} to {high}")
    console = Console()
    console.print(table)
    low, high = found["gain_ci"]
    console.print(
        f"gain over {found['better_single_strategy']}: {found['gain']:.2f} [{low:.2f}, {high:.2f}]"
    )
    console.print(f"decision: {found['decision_ms']:.2f} ms")
    for name, bar in _BARS.items():
        met = "met" if found[name] >= bar else "missed"
        console.print(f"{name} {found[name]:.3f}, bar {bar}: {met}")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark. A missed bar is printed; it is no error."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cascade_routing", description=__doc__
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--data", type=Path, default=folder().parent, metavar="DIR")
    parser.add_argument("--models", nargs="+", default=list(PRICES), metavar="MODEL")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=at_least_one, default=20, help="how many splits")
    parser.add_argument("--items", type=at_least_one, help="take so many items only")
    parser.add_argument("--trials", type=int, default=20, help="changes of prices by step")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, end)
    try:
        recordings = mmlu_pro(options.data, options.models)
    except FileNotFoundError as exc:
        parser.error(f"{exc.filename} is not there. Set --data or TIERFLOW_DATA.")
    except ValueError as exc:
        parser.error(str(exc))
    if options.items:
        recordings = recordings.at(np.arange(min(int(options.items), len(recordings))))
    drawn = np.random.default_rng(options.seed)
    ones = np.ones((1, len(recordings)))
    # Each item as often as in a resampled set of the same size.
    weights = np.vstack((ones, drawn.poisson(1.0, (_DRAWS, len(recordings))).astype(np.float64)))
    seeds = [
        measure(recordings, seed, weights, options.trials)
        for seed in track(
            range(options.seed, options.seed + options.seeds), "Splits", console=_console
        )
    ]
    chosen = {name: getattr(options, name) for name in ("models", "seed", "seeds", "trials")}
    found = report(seeds, {**chosen, "items": len(recordings)})
    show(found)
    write(found, options.json)


if __name__ == "__main__":
    main()
