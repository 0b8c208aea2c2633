"""RouteLLM's figure: strong calls avoided at 95 % of the strong model's quality.

Run `python -m benchmarks.routellm --json FILE`. Mixtral-8x7B and GPT-4 on MMLU and GSM8K, as
recorded by RouteLLM. Quality counts as in its tables: 0.95 of the strong model's accuracy, not of
the gap. Everything is learned on 70 % of the items; the threshold is chosen there too, out of fold,
and quality and saving are measured on the others. `hindsight` moves the threshold on the test items
until the quality is reached exactly: no promise, but what published tables do.

`ex_ante` reads the prompt alone. `post_hoc` (GSM8K only) reads the weak reply too, so the weak
model is always asked and charged. RouteLLM itself is ex-ante.
"""

import argparse
import ast
import gzip
import json
import operator
import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tierflow.routing.supermodels.linear import fit_ridge
from tierflow.routing.supermodels.words import fit_words

from .question_sets import folder
from .recorded_answers import split
from .running import at_least_one, end, write

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

_SETS = ("mmlu", "gsm8k")
_SHARE = 0.95
_TRAIN = 0.7
_BAR = 0.5
_DRAWS = 1000
_PENALTY = 50.0
# Half the chance that the weak reply is right, beside the gain: it is learned with less noise.
_RIGHT_SHARE = 0.5
# USD per million tokens as RouteLLM published them.
_STRONG_USD, _WEAK_USD = 24.7, 0.24
_PUBLISHED = {"mmlu": 0.45, "gsm8k": 0.35}

_STEP = re.compile(r"<<([^=<>]+)=([^<>]+)>>")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_FINAL = re.compile(r"####\s*(-?[\d.,]+)")


def _divided(left: float, right: float) -> float:
    return left / right


_OPERATORS: Mapping[type[ast.operator], Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: _divided,
}

_console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Items:
    """n recorded items. `replies`: of the weak model, none where they were not kept."""

    prompts: Sequence[str]
    replies: Sequence[str]
    weak: Floats
    strong: Floats


def read(path: Path) -> Items:
    """Read one of RouteLLM's files. Raises FileNotFoundError."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return Items(
        [row["prompt"] for row in rows],
        [row["weak_text"] for row in rows if "weak_text" in row],
        np.array([float(row["weak_correct"]) for row in rows]),
        np.array([float(row["strong_correct"]) for row in rows]),
    )


def measure(items: Items, seed: int, weights: Floats) -> dict[str, dict[str, Floats]]:
    """Return the figures of one split by way of routing, each (1 + draws,)."""
    train, test = split(len(items.prompts), (_TRAIN, 1 - _TRAIN), seed)
    outcomes = np.stack((items.weak, items.strong - items.weak), axis=1)
    words, known = fit_words(_at(items.prompts, train), outcomes[train])
    seen = np.array([words.scores(each) for each in _at(items.prompts, test)])
    scores = {"ex_ante": (known[:, 1], seen[:, 1])}
    if items.replies:
        said, known_said = fit_words(_at(items.replies, train), outcomes[train])
        seen_said = np.array([said.scores(each) for each in _at(items.replies, test)])
        checks = np.array(
            [_checks(*each) for each in zip(items.prompts, items.replies, strict=True)]
        )
        linear, unseen = fit_ridge(
            np.hstack((checks[train], known, known_said)), outcomes[train], _PENALTY
        )
        found = linear(np.hstack((checks[test], seen, seen_said)))
        scores["post_hoc"] = (_worth(unseen), _worth(found))
    drawn = weights[:, test] / weights[:, test].sum(axis=1, keepdims=True)
    weak, strong = items.weak[test], items.strong[test]
    return {
        way: _figures(
            found[0], found[1], (items.weak[train], items.strong[train]), (weak, strong), drawn
        )
        | _costs(found[0], found[1], (items.weak[train], items.strong[train]), way, drawn)
        for way, found in scores.items()
    }


def _at(texts: Sequence[str], rows: Rows) -> list[str]:
    return [texts[int(row)] for row in rows]


def _worth(predicted: Floats) -> Floats:
    return predicted[:, 1] - _RIGHT_SHARE * predicted[:, 0]


def _threshold(scores: Floats, weak: Floats, strong: Floats) -> float:
    """Return the score from which on to ask the strong model, for 95 % of its quality."""
    order = np.argsort(-scores)
    quality = weak.mean() + np.cumsum((strong - weak)[order]) / len(order)
    enough = np.nonzero(quality >= _SHARE * strong.mean())[0]
    return float(scores[order[enough[0]]]) if len(enough) else -np.inf


def _figures(
    known: Floats,
    seen: Floats,
    train: tuple[Floats, Floats],
    test: tuple[Floats, Floats],
    drawn: Floats,
) -> dict[str, Floats]:
    weak, strong = test
    escalated = seen >= _threshold(known, *train)
    best = drawn @ strong
    after = seen >= _threshold(seen, weak, strong)
    return {
        "saving": drawn @ (~escalated).astype(np.float64),
        "of_strong_quality": drawn @ np.where(escalated, strong, weak) / best,
        "hindsight_saving": drawn @ (~after).astype(np.float64),
        "random_saving": np.minimum(1, (1 - _SHARE) * best / (best - drawn @ weak)),
        "oracle_saving": 1 - np.maximum(0, _SHARE * best - drawn @ weak),
        "weak_quality": drawn @ weak,
        "strong_quality": best,
    }


def _costs(
    known: Floats, seen: Floats, train: tuple[Floats, Floats], way: str, drawn: Floats
) -> dict[str, Floats]:
    escalated = drawn @ (seen >= _threshold(known, *train)).astype(np.float64)
    asked = 1.0 if way == "post_hoc" else 1 - escalated
    cost = escalated * _STRONG_USD + asked * _WEAK_USD
    return {"cost_saving": 1 - cost / _STRONG_USD, "cost_ratio": _STRONG_USD / cost}


def _checks(prompt: str, reply: str) -> list[float]:
    """Describe the weak model's arithmetic: whether it is right, and uses what was given."""
    wrong = [float(not _holds(*step)) for step in _STEP.findall(reply)]
    given = set(_NUMBER.findall(prompt.replace(",", "")))
    used = set(_NUMBER.findall(reply.replace(",", "")))
    final = _FINAL.findall(reply)
    value = final[-1].replace(",", "").rstrip(".") if final else ""
    asked = prompt.lower()
    return [
        float(len(wrong)),
        sum(wrong),
        float(any(wrong)),
        float(len(given)),
        float(len(given - used)),
        len(given - used) / (len(given) + 1),
        len(reply) / 500,
        float(reply.count("\n")),
        len(prompt) / 500,
        float(prompt.count(".")),
        float(not final),
        float("." in value),
        float(value.startswith("-")),
        float(value in given),
        float(reply.count("=")),
        float("%" in prompt),
        float("half" in asked or "twice" in asked),
        float("more" in asked or "less" in asked),
    ]


def _holds(sum_: str, result: str) -> bool:
    """Tell whether a step such as `9*2=18` is right; what cannot be read counts as wrong."""
    try:
        left = _value(ast.parse(sum_.replace(",", "").replace("$", "").strip(), mode="eval").body)
        right = float(result.replace(",", "").replace("$", ""))
    except (SyntaxError, ValueError, ZeroDivisionError, OverflowError, RecursionError):
        return False
    return abs(left - right) <= 0.01 * max(1.0, abs(right))


def _value(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return float(_OPERATORS[type(op)](_value(left), _value(right)))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case _:
            raise ValueError("Not a sum.")


def report(seeds: Sequence[Mapping[str, Mapping[str, Floats]]], name: str) -> dict[str, Any]:
    """Return the means over seeds and their 95 % intervals, by way of routing."""
    found: dict[str, Any] = {"published_saving": _PUBLISHED.get(name)}
    for way in seeds[0]:
        means = {
            figure: np.mean([each[way][figure] for each in seeds], axis=0)
            for figure in seeds[0][way]
        }
        found[way] = {figure: float(values[0]) for figure, values in means.items()} | {
            f"{figure}_ci": [float(end) for end in np.quantile(values[1:], (0.025, 0.975))]
            for figure, values in means.items()
        }
    best = found.get("post_hoc", found["ex_ante"])
    reads = "prompt and weak reply" if "post_hoc" in found else "prompt"
    return {"saving": best["saving"], "saving_ci": best["saving_ci"], "reads": reads, **found}


def show(found: Mapping[str, Any]) -> None:
    """Print the figures, and of each bar whether it was met."""
    table = Table(title="At 95 % of the strong model's quality", title_justify="left")
    columns = ("saving", "of_strong_quality", "hindsight_saving", "random_saving", "cost_ratio")
    for heading in ("set", "way", *columns):
        table.add_column(heading, justify="left" if heading in {"set", "way"} else "right")
    console = Console()
    for name in found["sets"]:
        for way in ("ex_ante", "post_hoc"):
            if figures := found["sets"][name].get(way):
                table.add_row(name, way, *(f"{figures[each]:.3f}" for each in columns))
    console.print(table)
    for name, figures in found["sets"].items():
        met = "met" if figures["saving"] >= _BAR else "missed"
        console.print(
            f"{name} ({figures['reads']}): saving {figures['saving']:.3f}, published "
            f"{figures['published_saving']}, bar {_BAR}: {met}"
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark. A missed bar is printed; it is no error."""
    name = "python -m benchmarks.routellm"
    parser = argparse.ArgumentParser(prog=name, description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--data", type=Path, default=folder().parent, metavar="DIR")
    parser.add_argument("--sets", nargs="+", choices=_SETS, default=_SETS)
    parser.add_argument("--seed", type=int, default=0, help="the first of the seeds")
    parser.add_argument("--seeds", type=at_least_one, default=20, metavar="N")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, end)
    try:
        sets = {each: read(options.data / "routellm" / f"{each}.jsonl.gz") for each in options.sets}
    except FileNotFoundError as exc:
        parser.error(f"{exc.filename} is not there. Set --data or TIERFLOW_DATA.")
    found: dict[str, Any] = {}
    for each, items in sets.items():
        if len(items.prompts) < 100:
            parser.error(f"{each} has {len(items.prompts)} items; 100 are least.")
        count = len(items.prompts)
        resampled = np.random.default_rng(options.seed).poisson(1.0, (_DRAWS, count))
        weights = np.vstack((np.ones((1, count)), resampled.astype(np.float64)))
        numbers = range(options.seed, options.seed + options.seeds)
        seeds = [
            measure(items, number, weights)
            for number in track(numbers, f"Splits of {each}", console=_console)
        ]
        found[each] = report(seeds, each)
    parameters = {"seed": options.seed, "seeds": options.seeds, "quality_share": _SHARE}
    whole = {
        **{f"saving_{each}": figures["saving"] for each, figures in found.items()},
        "sets": found,
        "parameters": parameters,
    }
    show(whole)
    write(whole, options.json)


if __name__ == "__main__":
    main()
