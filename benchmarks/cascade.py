"""Cascade: what a learned scorer and threshold save between two recorded models.

Each seed splits the items: 70 % train the scorer and, out of fold, choose the threshold of equal
quality (expected loss at most 0); 30 % test. Saving is against the strong model on every item; all
calls are charged, a helper's on every item. A pair that training items say is not worth a cascade
is refused, and the reason is the result.

    python -m benchmarks.cascade --weak gemini-1.5-flash-002 --strong gemini-1.5-pro-002
"""

import argparse
import signal
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from tierflow.routing.learned import (
    Described,
    Fitted,
    Recordings,
    Refusal,
    Worth,
    describe_all,
    fit_scorer,
    refuse,
    weigh,
)

from . import cascade_baselines as ways
from .question_sets import folder
from .recorded_answers import Rows, mmlu_pro, split
from .running import at_least_one, end, write

SHARES = (0.7, 0.3)
BARS = {"saving": 0.55, "ci_low_pp": -1.0}
CALIBRATION_BINS = 10

_console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two recorded models and, perhaps, a helper whose answers are compared."""

    weak: str
    strong: str
    helper: str | None

    @property
    def models(self) -> tuple[str, ...]:
        """All models that are asked, each once."""
        return tuple(dict.fromkeys(each for each in (self.weak, self.strong, self.helper) if each))


@dataclass(frozen=True, slots=True)
class Chosen:
    """What training items chose: with or without a helper, and what that promises."""

    helper: str | None
    fitted: Fitted
    worth: Worth


@dataclass(frozen=True, slots=True)
class Done:
    """One seed. `chances`: (m,), of the test items' weak replies to be right; `right`: if so."""

    chosen: Chosen
    refusal: Refusal | None
    split: ways.Split
    chances: NDArray[np.float64]
    right: NDArray[np.float64]


def choose(
    described: Mapping[str | None, Described], train: Recordings, rows: Rows, pair: Pair, seed: int
) -> Chosen:
    """Fit with each helper and without; return what saves most on the training items."""
    weak, strong = train[pair.weak], train[pair.strong]
    chosen: list[Chosen] = []
    for helper, items in described.items():
        fitted = fit_scorer(items.at(rows), weak.quality, strong.quality, seed=seed)
        asked = train[helper].cost_usd if helper else None
        costs = weak.cost_usd, strong.cost_usd
        worth = weigh(fitted.scores, fitted.losses, *costs, helper_cost=asked)
        chosen.append(Chosen(helper, fitted, worth))
    return max(chosen, key=lambda each: each.worth.saving)


def run(
    recordings: Recordings, described: Mapping[str | None, Described], pair: Pair, seed: int
) -> Done:
    """Learn on one split and return what came of it."""
    train, test = split(len(recordings), SHARES, seed)
    chosen = choose(described, recordings.at(train), train, pair, seed)
    refusal = refuse(chosen.worth, weak=pair.weak, strong=pair.strong)
    unseen = recordings.at(test)
    weak, strong = unseen[pair.weak], unseen[pair.strong]
    items = described[chosen.helper].at(test)
    scores, right = chosen.fitted.scorer.scores(items)
    right = chosen.fitted.scorer.right(right)
    asked = unseen[chosen.helper].cost_usd if chosen.helper else 0.0
    ours = ways.cascade(weak, strong, scores >= chosen.worth.threshold, asked)
    if refusal is not None:
        ours = ways.single(strong)
    outcomes = {
        "ours": ours,
        "cheapest": ways.single(weak),
        "strongest": ways.single(strong),
        "best_single": ways.single(_best_single(recordings.at(train), unseen, pair)),
        "random_mix": ways.random_mix(weak, strong, ours),
        "ex_ante_routing": ways.ex_ante(
            described[None],
            recordings,
            weak=pair.weak,
            strong=pair.strong,
            train=train,
            test=test,
        ),
        "plain_threshold": ways.cascade(weak, strong, right >= ways.HAND_SET, asked),
        "perfect_judge": ways.perfect_judge(weak, strong),
        "oracle": ways.oracle(weak, strong),
    }
    return Done(chosen, refusal, ways.Split(test, outcomes), right, weak.quality)


def _best_single(train: Recordings, unseen: Recordings, pair: Pair) -> Any:
    return unseen[max(pair.models, key=lambda model: float(train[model].quality.mean()))]


def calibration_error(chances: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """Return the expected calibration error over ten bins with equally many items."""
    order = np.argsort(chances, kind="stable")
    bins = np.array_split(order, CALIBRATION_BINS)
    off = [len(each) * abs(chances[each].mean() - right[each].mean()) for each in bins if len(each)]
    return float(sum(off) / max(len(chances), 1))


def report(done: Sequence[Done], count: int, pair: Pair, seed: int) -> dict[str, Any]:
    """Return the figures as JSON data: a refusal where most seeds refused."""
    splits = [each.split for each in done]
    found = ways.summarize(splits, count, reference="strongest", seed=seed)
    per_seed = [_of_one(each, count) for each in done]
    common = {
        "weak": pair.weak,
        "strong": pair.strong,
        "helper": pair.helper,
        "helper_kept": sum(each.chosen.helper is not None for each in done),
        "refusals": sum(each.refusal is not None for each in done),
        "oracle_saving": found["oracle"]["saving"],
        "baselines": {name: each for name, each in found.items() if name != "ours"},
        "worth": asdict(done[0].chosen.worth),
        "per_seed": per_seed,
        "items": count,
        "parameters": {"seed": seed, "seeds": len(done), "train": SHARES[0], "test": SHARES[1]},
    }
    reasons = [each.refusal.reason for each in done if each.refusal]
    if len(reasons) > len(done) / 2:
        return {"refused": reasons[0], **common}
    # Of all seeds together: in the 10 bins of one, chance alone makes for some 0.02.
    chances = np.concatenate([each.chances for each in done])
    ece = calibration_error(chances, np.concatenate([each.right for each in done]))
    return {**found["ours"], "ece": round(ece, 4), **common}


def _of_one(done: Done, count: int) -> dict[str, Any]:
    alone = ways.summarize([done.split], count, reference="strongest", seed=0)["ours"]
    return {
        **{name: alone[name] for name in ("saving", "accuracy_delta_pp")},
        "accepted_in_training": round(done.chosen.worth.accepted, 4),
        "saving_in_training": round(done.chosen.worth.saving, 4),
        "ece": round(calibration_error(done.chances, done.right), 4),
        "refused": done.refusal is not None,
    }


def show(found: Mapping[str, Any]) -> None:
    """Print the figures, baselines beside ours."""
    title = f"{found['weak']} -> {found['strong']}, {found['items']:,} items"
    table = Table(title=title, title_justify="left")
    for heading in ("way", "saving", "95 %", "accuracy, pp", "95 %"):
        table.add_column(heading, justify="left" if heading == "way" else "right")
    ours = {} if "refused" in found else {"ours": found}
    for name, each in (ours | found["baselines"]).items():
        table.add_row(
            name,
            f"{each['saving']:.1%}",
            f"{each['saving_low']:.1%} to {each['saving_high']:.1%}",
            f"{each['accuracy_delta_pp']:+.2f}",
            f"{each['ci_low_pp']:+.2f} to {each['ci_high_pp']:+.2f}",
        )
    out = Console()
    out.print(table)
    if "refused" in found:
        out.print(f"Refused. {found['refused']}", highlight=False)
        return
    for name, bar in BARS.items():
        met = "met" if found[name] >= bar else "missed"
        out.print(f"{name} {found[name]:.3f}, bar {bar:g}: {met}", highlight=False)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark. A missed bar is printed; it is no error."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cascade",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--weak", default="gemini-1.5-flash-002", metavar="MODEL")
    parser.add_argument("--strong", default="gemini-1.5-pro-002", metavar="MODEL")
    parser.add_argument(
        "--helper", metavar="MODEL", help="ask it, too, where training items say that it pays"
    )
    parser.add_argument("--data", type=Path, default=folder().parent, metavar="DIR")
    parser.add_argument("--seed", type=int, default=0, help="the first of the seeds")
    parser.add_argument("--seeds", type=at_least_one, default=20, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, end)
    pair = Pair(options.weak, options.strong, options.helper)
    if len(pair.models) < 2 + bool(pair.helper):
        parser.error(f"The models are not different: {', '.join(pair.models)}.")
    recordings = read(parser, options.data, pair.models)
    found = measure(recordings, pair, options.seed, options.seeds)
    show(found)
    write(found, options.json)


def read(parser: argparse.ArgumentParser, data: Path, models: Sequence[str]) -> Recordings:
    """Read the recorded answers, or end with one line that says what is missing."""
    try:
        recordings = mmlu_pro(data, models)
    except FileNotFoundError as exc:
        parser.error(f"{exc.filename} is not there. Set --data or TIERFLOW_DATA.")
    except ValueError as exc:
        parser.error(str(exc))
    if len(recordings) < 200:
        parser.error(f"{data} has {len(recordings)} items that all models answered; 200 are least.")
    return recordings


def measure(recordings: Recordings, pair: Pair, seed: int, seeds: int) -> dict[str, Any]:
    """Return all figures of a pair over the seeds."""
    _console.print(f"Describing {len(recordings):,} replies of {pair.weak} ...", highlight=False)
    described = {
        helper: describe_all(recordings, pair.weak, helper)
        for helper in dict.fromkeys((None, pair.helper))
    }
    done: list[Done] = []
    for each in range(seed, seed + seeds):
        done.append(run(recordings, described, pair, each))
        ours = _of_one(done[-1], len(recordings))
        _console.print(
            f"  seed {each}: saving {ours['saving']:.1%}, "
            f"accuracy {ours['accuracy_delta_pp']:+.2f} pp, {len(done)} of {seeds}",
            highlight=False,
        )
    return report(done, len(recordings), pair, seed)


if __name__ == "__main__":
    main()
