"""Learning: from recorded answers of all tiers to a learned route. Asks nobody."""

from collections.abc import Iterator
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from ..gate import Binding
from ..learned import Recordings
from ..supermodels import Lesson, Outcome, Reach, Tables, replay, study
from .learned import REACHES, Alone, LearnedRoute, Offer
from .route import ReachName

Bools = NDArray[np.bool_]

_BUDGETS = 12
_TRIALS = 60


def learn_route(
    step: str, recordings: Recordings, learns: Bools, bound_to: Binding, *, at: float
) -> LearnedRoute:
    """Learn from the items that `learns` (n,) marks, and measure every offer on the others.

    `recordings`: n items that every tier answered, by the tiers' names. Raises ValueError for
    fewer than 100 items to learn from, none to prove by, or costs that are unknown or all 0.
    """
    other = recordings.at(np.nonzero(~learns)[0])
    if not len(other):
        raise ValueError("No items are left to prove by. Give more of them.")
    paid = np.stack([each.cost_usd for each in recordings.models.values()])
    if np.isnan(paid).any() or not paid.sum():
        raise ValueError(
            "What the tiers cost is unknown or 0. Give their deployments input_usd_per_mtok and "
            "output_usd_per_mtok."
        )
    lesson = study(recordings.at(np.nonzero(learns)[0]))
    tables = lesson.tables_of(other)
    offers = [offer for name in get_args(ReachName) for offer in _offers(lesson, tables, name)]
    models = lesson.estimates.models
    return LearnedRoute(
        step,
        bound_to,
        at,
        len(recordings),
        lesson.strategy(Reach.anything(lesson.order), budget_usd=float(paid.sum()), trials=0),
        tuple(offers),
        {
            model: Alone(float(tables.right[:, at].mean()), float(tables.paid_usd[:, at].mean()))
            for at, model in enumerate(models)
        },
    )


def _offers(lesson: Lesson, tables: Tables, name: ReachName) -> Iterator[Offer]:
    """Yield the best ways under budgets from the cheapest tier's cost to that of asking all."""
    reach = REACHES[name](lesson.order)
    each = lesson.tables.paid_usd.mean(axis=0)
    seen = set[tuple[float, ...]]()
    # They lie closer together where money is short: there quality rises fastest.
    for budget in each.min() + np.linspace(0, 1, _BUDGETS) ** 2 * (each.sum() - each.min()):
        trials = _TRIALS if name == "cascade routing" else 0
        try:
            prices = lesson.strategy(reach, budget_usd=float(budget), trials=trials).prices
        except ValueError:  # not even the cheapest way fits
            continue
        if prices not in seen:
            seen.add(prices)
            yield _offer(
                name, prices, replay(lesson.tables, reach, prices), replay(tables, reach, prices)
            )


def _offer(name: ReachName, prices: tuple[float, ...], learned: Outcome, proved: Outcome) -> Offer:
    return Offer(
        name,
        prices,
        cost_usd=float(learned.cost_usd.mean()),
        quality=float(learned.quality.mean()),
        proved=len(proved.quality),
        right=int(proved.quality.sum()),
        proved_usd=float(proved.cost_usd.mean()),
        asks=float(np.mean([int(run).bit_count() for run in proved.run])),
    )
