"""Fitting: learn estimators from recorded answers, then prices that keep a budget or a quality."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from ..learned import Recordings
from .estimates import Estimates, Learned, Readings, learn
from .strategy import Costs, Outcome, Reach, Strategy, Tables, replay
from .supermodels import AnySupermodels, choose, learn_chosen, learn_gaussian

Floats = NDArray[np.float64]

_LEAST_ITEMS = 100
_MOST_MODELS = 6
_ROUNDS = 24
_TRIALS = 100
_FREE = 1e-3
_DEAREST = 1e4


@dataclass(frozen=True, slots=True)
class Lesson:
    """What was learned, before any budget. `tables`: of the training items, each left out."""

    learned: Learned
    supermodels: AnySupermodels
    costs: Costs
    order: tuple[int, ...]
    tables: Tables

    @property
    def estimates(self) -> Estimates:
        """The estimators of all models."""
        return self.learned.estimates

    def published(self) -> "Lesson":
        """Return the lesson with the published supermodels: a Gaussian around the estimates."""
        gaussian, unseen = learn_gaussian(self.learned)
        quality = np.stack([unseen[run] for run in sorted(unseen)])
        return replace(self, supermodels=gaussian, tables=replace(self.tables, quality=quality))

    def tables_of(self, recordings: Recordings, readings: Readings | None = None) -> Tables:
        """Work out the tables of other items; `readings`: if they were read already."""
        readings = self.estimates.read_all(recordings) if readings is None else readings
        runs = sorted(self.estimates.right)
        found = [self.estimates.chances(run, readings) for run in runs]
        quality = [
            self.supermodels.quality(run, *each) for run, each in zip(runs, found, strict=True)
        ]
        chances = [each for each, _ in found]
        return _tables(recordings, self.estimates.models, self.costs, quality, chances)

    def strategy(
        self,
        reach: Reach,
        *,
        budget_usd: float | None = None,
        min_quality: float | None = None,
        trials: int = _TRIALS,
        seed: int = 0,
    ) -> Strategy:
        """Choose prices on the training items: the best under a mean budget, or over a quality.

        First one price for all steps by bisection, then `trials` random changes of each step's
        own; a change is kept if it helps on both halves of the items, lest it fits their noise.
        Raises ValueError unless one of budget and quality is given, or if it cannot be kept.
        """
        if (budget_usd is None) == (min_quality is None):
            raise ValueError("Give budget_usd or min_quality, one of them.")
        kept = _kept(budget_usd, min_quality)
        prices = _bisect(self.tables, reach, kept, falling=budget_usd is not None)
        random = np.random.default_rng(seed)
        worth = _quality if budget_usd is not None else _thrift
        best = replay(self.tables, reach, prices)
        for _ in range(trials):
            tried = _varied(prices, random)
            outcome = replay(self.tables, reach, tried)
            gained = worth(outcome) - worth(best)
            if kept(outcome) and min(gained[::2].mean(), gained[1::2].mean()) > 0:
                prices, best = tried, outcome
        return Strategy(self.estimates, self.supermodels, self.costs, reach, prices)


def fit(
    recordings: Recordings,
    *,
    budget_usd: float | None = None,
    min_quality: float | None = None,
) -> Strategy:
    """Learn a cascade routing from recorded answers of 2 to 6 models to the same items.

    `budget_usd`: the mean cost of an item to stay under. `min_quality`: the mean quality, in
    [0, 1], to reach as cheaply as possible. Source: arXiv 2410.10347.

    Raises ValueError for under 100 items, too few or many models, or a goal out of reach.
    """
    lesson = study(recordings)
    return lesson.strategy(
        Reach.anything(lesson.order), budget_usd=budget_usd, min_quality=min_quality
    )


def study(recordings: Recordings) -> Lesson:
    """Learn everything but the prices; see `fit`."""
    if len(recordings) < _LEAST_ITEMS:
        raise ValueError(
            f"{len(recordings)} items are too few to learn from. Record at least {_LEAST_ITEMS}."
        )
    if not 2 <= len(recordings.models) <= _MOST_MODELS:
        raise ValueError(
            f"Cascade routing takes 2 to {_MOST_MODELS} models, not {len(recordings.models)}: "
            "every set of them has its own estimates."
        )
    learned = learn(recordings)
    models = learned.estimates.models
    quality = np.stack([recordings[model].quality for model in models], axis=1)
    chosen, unseen = learn_chosen(learned, quality)
    costs = _costs(recordings, models)
    runs = sorted(learned.chances)
    chances = [learned.chances[run] for run in runs]
    tables = _tables(recordings, models, costs, [unseen[run] for run in runs], chances)
    order = tuple(int(each) for each in np.argsort(tables.paid_usd.mean(axis=0)))
    return Lesson(learned, chosen, costs, order, tables)


def _costs(recordings: Recordings, models: tuple[str, ...]) -> Costs:
    letters = np.array([len(ask) for ask in recordings.asks], np.float64)
    spread = float(letters.var())
    paid = np.stack([recordings[model].cost_usd for model in models])
    away = letters - letters.mean()
    slope = (paid * away).mean(axis=1) / spread if spread else np.zeros(len(models))
    return Costs(paid.mean(axis=1) - slope * letters.mean(), slope, paid.min(axis=1))


def _tables(
    recordings: Recordings,
    models: tuple[str, ...],
    costs: Costs,
    quality: list[Floats],
    chances: list[Floats],
) -> Tables:
    chosen = [choose(run, each) for run, each in enumerate(chances) if run]
    return Tables(
        np.stack(quality),
        np.stack((np.zeros(len(recordings), np.intp), *chosen)),
        costs(np.array([len(ask) for ask in recordings.asks], np.float64)),
        np.stack([recordings[model].quality for model in models], axis=1),
        np.stack([recordings[model].cost_usd for model in models], axis=1),
    )


def _kept(budget_usd: float | None, min_quality: float | None) -> Callable[[Outcome], bool]:
    if budget_usd is not None:
        # Sums of the same costs in another order differ in their last digits.
        most = budget_usd * (1 + 1e-9)
        return lambda outcome: bool(outcome.cost_usd.mean() <= most)
    return lambda outcome: bool(outcome.quality.mean() >= (min_quality or 0.0))


def _bisect(
    tables: Tables, reach: Reach, kept: Callable[[Outcome], bool], *, falling: bool
) -> tuple[float, ...]:
    """Find the least price that keeps a budget (`falling`), or the greatest that keeps a quality.

    Prices are searched around the one at which running all costs what a right answer is worth.
    """
    unit = 1 / float(tables.costs_usd[:, -1].mean())
    low, high = _FREE * unit, _DEAREST * unit
    good, bad = (high, low) if falling else (low, high)
    if not kept(replay(tables, reach, (good,))):
        outcome = replay(tables, reach, (good,))
        raise ValueError(
            f"The goal is out of reach: at best {outcome.quality.mean():.4f} quality for "
            f"{outcome.cost_usd.mean():.6f} USD. Raise the budget or lower the quality."
        )
    for _ in range(_ROUNDS):
        middle = sqrt(good * bad)
        if kept(replay(tables, reach, (middle,))):
            good = middle
        else:
            bad = middle
    return (good,) * len(reach.order)


def _varied(prices: tuple[float, ...], random: np.random.Generator) -> tuple[float, ...]:
    changes = random.normal(0, 0.4, len(prices)) * (random.random(len(prices)) < 0.6)
    varied: list[float] = (np.array(prices) * np.exp(changes)).tolist()
    return tuple(varied)


def _quality(outcome: Outcome) -> Floats:
    return outcome.quality


def _thrift(outcome: Outcome) -> Floats:
    return -outcome.cost_usd
