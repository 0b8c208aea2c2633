"""Cascade baselines: what simple ways to use two recorded models cost, and how good they are.

Every way gives an outcome: cost and quality of each item of one split. Intervals come from one
paired bootstrap over items and splits for all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tierflow.routing.learned import (
    Described,
    Recorded,
    Recordings,
    equal_quality_threshold,
    fit_scorer,
)

from .recorded_answers import Rows

Floats = NDArray[np.float64]
Accepted = NDArray[np.bool_]

DRAWS = 1000
HAND_SET = 0.8
"""The chance of being right from which a cascade with a threshold set by hand keeps a reply."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of m items: `cost_usd`: (m,), all calls made. `quality`: (m,), of what was returned."""

    cost_usd: Floats
    quality: Floats


def single(model: Recorded) -> Outcome:
    """Return the outcome of one model for all items."""
    return Outcome(model.cost_usd, model.quality)


def cascade(
    weak: Recorded, strong: Recorded, accepted: Accepted, extra_usd: Floats | float = 0.0
) -> Outcome:
    """Return the outcome of asking the weak model first, and the strong one unless accepted.

    `extra_usd`: what judging costs on every item.
    """
    escalated = np.where(accepted, 0.0, strong.cost_usd)
    quality = np.where(accepted, weak.quality, strong.quality)
    return Outcome(weak.cost_usd + extra_usd + escalated, quality)


def routing(weak: Recorded, strong: Recorded, to_weak: Accepted) -> Outcome:
    """Return the outcome of asking one of the two, decided before any is asked."""
    return Outcome(
        np.where(to_weak, weak.cost_usd, strong.cost_usd),
        np.where(to_weak, weak.quality, strong.quality),
    )


def random_mix(weak: Recorded, strong: Recorded, like: Outcome) -> Outcome:
    """Return the expected outcome of a coin that costs as much as `like`, one of the two asked."""
    span = strong.cost_usd.sum() - weak.cost_usd.sum()
    share = float(np.clip((strong.cost_usd.sum() - like.cost_usd.sum()) / span, 0, 1))
    return Outcome(
        share * weak.cost_usd + (1 - share) * strong.cost_usd,
        share * weak.quality + (1 - share) * strong.quality,
    )


def oracle(weak: Recorded, strong: Recorded) -> Outcome:
    """Return the cheapest outcome that is as good as the strong model, with all outcomes known."""
    gain = strong.quality - weak.quality
    order = np.lexsort((-strong.cost_usd, gain))
    # Kept while what is lost is made up for by what the weak model alone gets right.
    kept = np.cumsum(gain[order]) <= 1e-9
    accepted = np.zeros(len(gain), np.bool_)
    accepted[order] = kept
    return cascade(weak, strong, accepted)


def perfect_judge(weak: Recorded, strong: Recorded) -> Outcome:
    """Return the outcome of a judge that knows whether the weak reply is right."""
    return cascade(weak, strong, weak.quality >= 1)


def ex_ante(
    items: Described, recordings: Recordings, *, weak: str, strong: str, train: Rows, test: Rows
) -> Outcome:
    """Return the outcome of a router that sees asks alone, at equal quality on training items."""
    columns = [
        at for at, name in enumerate(items.names) if name.startswith("ask_") or name == "choices"
    ]
    blind = replace(
        items,
        names=tuple(items.names[at] for at in columns),
        matrix=items.matrix[:, columns],
    )
    qualities = recordings[weak].quality[train], recordings[strong].quality[train]
    fitted = fit_scorer(blind.at(train), *qualities)
    threshold = equal_quality_threshold(fitted.scores, fitted.losses)
    scores, _ = fitted.scorer.scores(blind.at(test))
    return routing(recordings[weak].at(test), recordings[strong].at(test), scores >= threshold)


@dataclass(frozen=True, slots=True)
class Split:
    """The outcomes of all ways on the same rows of one split; all have the same names."""

    test: Rows
    outcomes: Mapping[str, Outcome]


def summarize(
    splits: Sequence[Split], count: int, *, reference: str, seed: int
) -> dict[str, dict[str, Any]]:
    """Return of every way its saving and its accuracy against a reference, with 95 % intervals.

    `count`: items in all. Both are means over splits; the bootstrap draws items, the same for all
    ways and splits, and splits.
    """
    random = np.random.default_rng(seed)
    items = random.multinomial(count, np.full(count, 1 / count), DRAWS).astype(np.float64)
    drawn = random.integers(0, len(splits), (DRAWS, len(splits)))
    every = np.arange(len(splits))[None]
    ones = np.ones((1, count))
    there = _spread(splits, count, [np.ones(len(split.test)) for split in splits])
    against = [split.outcomes[reference] for split in splits]
    paid = _spread(splits, count, [each.cost_usd for each in against])
    found: dict[str, dict[str, Any]] = {}
    for name in splits[0].outcomes:
        ours = [split.outcomes[name] for split in splits]
        cost = _spread(splits, count, [each.cost_usd for each in ours])
        lost = _spread(
            splits,
            count,
            [100 * (a.quality - b.quality) for a, b in zip(ours, against, strict=True)],
        )

        def mean(above: Floats, below: Floats, weights: Floats, seeds: Rows) -> Floats:
            ratios: Floats = (weights @ above) / (weights @ below)
            means: Floats = np.take_along_axis(ratios, seeds, 1).mean(axis=1)
            return means

        saving = 1 - mean(cost, paid, items, drawn)
        delta = mean(lost, there, items, drawn)
        low, high = np.percentile(delta, (2.5, 97.5))
        saving_low, saving_high = np.percentile(saving, (2.5, 97.5))
        found[name] = {
            "saving": round(1 - float(mean(cost, paid, ones, every)[0]), 4),
            "saving_low": round(float(saving_low), 4),
            "saving_high": round(float(saving_high), 4),
            "accuracy_delta_pp": round(float(mean(lost, there, ones, every)[0]), 3),
            "ci_low_pp": round(float(low), 3),
            "ci_high_pp": round(float(high), 3),
        }
    return found


def _spread(splits: Sequence[Split], count: int, values: Sequence[Floats]) -> Floats:
    """Return (count, splits) with the values at each split's rows, 0 elsewhere."""
    matrix = np.zeros((count, len(splits)))
    for at, (split, column) in enumerate(zip(splits, values, strict=True)):
        matrix[split.test, at] = column
    return matrix
