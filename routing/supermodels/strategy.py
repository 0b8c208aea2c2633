"""Strategy: which model to run next, or whose answer to take. Decides only; asks nobody."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .estimates import Estimates, Reply, bits
from .supermodels import AnySupermodels, choose, read_supermodels

Floats = NDArray[np.float64]

_VERSION = 2


@dataclass(frozen=True, slots=True)
class State:
    """Where an item stands. `stratum`: its kind, "" for none. `replies`: of the models run."""

    ask: str
    stratum: str = ""
    replies: Mapping[str, Reply] = field(default_factory=dict[str, Reply])


@dataclass(frozen=True, slots=True)
class Run:
    """Run this model next. `quality`: of the answer to expect in the end, in [0, 1]."""

    model: str
    quality: float


@dataclass(frozen=True, slots=True)
class Stop:
    """Return this model's answer. `quality`: its chance of being right, in [0, 1]."""

    model: str
    quality: float


Decision: TypeAlias = Run | Stop


@dataclass(frozen=True, slots=True)
class Costs:
    """What a call of each of k models costs, from the length of the ask. All (k,) USD."""

    base_usd: Floats
    letter_usd: Floats
    least_usd: Floats

    def __call__(self, letters: Floats) -> Floats:
        """Return (n, 2**k) USD of every set for n asks of so many letters."""
        each = np.maximum(self.base_usd + letters[:, None] * self.letter_usd, self.least_usd)
        count = each.shape[1]
        costs: Floats = each @ bits(count).T.astype(np.float64)
        return costs


@dataclass(frozen=True, slots=True)
class Reach:
    """Which sets T may be aimed at. Routing and cascading are nothing but smaller reaches.

    `allowed`: (2**k, 2**k), from a set run to a set aimed at. `order`: the k models, cheapest
    first, in which the missing ones of T are run.
    """

    order: tuple[int, ...]
    allowed: NDArray[np.bool_]

    def first(self, missing: int) -> int:
        """Return the model to run first of those that are missing."""
        return next(model for model in self.order if missing >> model & 1)

    @classmethod
    def anything(cls, order: tuple[int, ...]) -> "Reach":
        """Cascade routing: any set that holds what was run."""
        groups = np.arange(1 << len(order))
        allowed = (groups[:, None] & groups) == groups[:, None]
        allowed[:, 0] = False
        return cls(order, allowed)

    @classmethod
    def one(cls, order: tuple[int, ...]) -> "Reach":
        """Routing: one model, chosen before anything was run."""
        reach = cls.anything(order)
        size = np.array([int(group).bit_count() for group in range(1 << len(order))])
        return cls(order, reach.allowed & (size == 1))

    @classmethod
    def prefixes(cls, order: tuple[int, ...]) -> "Reach":
        """Cascading: the models in their order, stopped anywhere."""
        reach = cls.anything(order)
        ends = np.cumsum([1 << model for model in order])
        prefix = np.isin(np.arange(1 << len(order)), ends)
        return cls(order, reach.allowed & prefix)


@dataclass(frozen=True, slots=True)
class Strategy:
    """A fitted cascade routing. `prices`: by step (k,), quality that one more USD must bring.

    Source: arXiv 2410.10347. Ties go to the smaller set, so to the cheaper.
    """

    estimates: Estimates
    supermodels: AnySupermodels
    costs: Costs
    reach: Reach
    prices: tuple[float, ...]

    @property
    def models(self) -> tuple[str, ...]:
        """The models that are chosen from."""
        return self.estimates.models

    def next(self, state: State) -> Decision:
        """Return what to do next. Pure; below a millisecond for four models.

        Raises ValueError for a reply of a model that was not learned from.
        """
        readings = self.estimates.read(state.ask, state.stratum, state.replies)
        run = sum(1 << at for at, model in enumerate(self.models) if model in state.replies)
        chances, design = self.estimates.chances(run, readings)
        quality = self.supermodels.quality(run, chances, design)[0]
        costs = self.costs(np.array([len(state.ask)], np.float64))[0]
        price = self.prices[min(run.bit_count(), len(self.prices) - 1)]
        worth = np.where(self.reach.allowed[run], quality - price * costs, -np.inf)
        aim = int(worth.argmax())
        # A set from which nothing can be reached has only one way: to stop.
        if run and (aim == run or not np.isfinite(worth[aim])):
            model = int(choose(run, chances)[0])
            return Stop(self.models[model], float(chances[0, model]))
        return Run(self.models[self.reach.first(aim & ~run)], float(quality[aim]))

    def to_json(self) -> str:
        """Write all of it as JSON text."""
        return json.dumps(
            {
                "version": _VERSION,
                "estimates": self.estimates.to_json(),
                "supermodels": self.supermodels.to_json(),
                "costs": {
                    "base_usd": self.costs.base_usd.tolist(),
                    "letter_usd": self.costs.letter_usd.tolist(),
                    "least_usd": self.costs.least_usd.tolist(),
                },
                "order": list(self.reach.order),
                "allowed": [np.nonzero(row)[0].tolist() for row in self.reach.allowed],
                "prices": list(self.prices),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "Strategy":
        """Read what `to_json` wrote. Raises ValueError for another version."""
        read: Mapping[str, Any] = json.loads(text)
        if read.get("version") != _VERSION:
            raise ValueError(
                f"The strategy has version {read.get('version')!r}, but {_VERSION} is read. Fit it "
                "again."
            )
        costs = {name: np.array(values, np.float64) for name, values in read["costs"].items()}
        allowed = np.zeros((len(read["allowed"]), len(read["allowed"])), np.bool_)
        for run, groups in enumerate(read["allowed"]):
            allowed[run, groups] = True
        return cls(
            Estimates.from_json(read["estimates"]),
            read_supermodels(read["supermodels"]),
            Costs(**costs),
            Reach(tuple(read["order"]), allowed),
            tuple(read["prices"]),
        )


@dataclass(frozen=True, slots=True)
class Tables:
    """All that can be decided about n items, worked out at once.

    `quality`: (2**k, n, 2**k) by set run and set aimed at. `chosen`: (2**k, n) models.
    `costs_usd`: (n, 2**k), expected. `right`: (n, k) and `paid_usd`: (n, k), what came about.
    """

    quality: Floats
    chosen: NDArray[np.intp]
    costs_usd: Floats
    right: Floats
    paid_usd: Floats


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of n items: the quality of the answers taken, USD paid, the sets run; all (n,)."""

    quality: Floats
    cost_usd: Floats
    run: NDArray[np.intp]


def replay(tables: Tables, reach: Reach, prices: tuple[float, ...]) -> Outcome:
    """Decide n items to their ends, as `Strategy.next` would one by one."""
    count = tables.right.shape[1]
    rows = np.arange(len(tables.right))
    run = np.zeros(len(rows), np.intp)
    first = np.array([reach.first(missing) if missing else 0 for missing in range(1 << count)])
    going = rows
    for step in range(count):
        here = run[going]
        worth = (
            tables.quality[here, going]
            - prices[min(step, len(prices) - 1)] * (tables.costs_usd[going])
        )
        worth[~reach.allowed[here]] = -np.inf
        aim = worth.argmax(axis=1)
        stops = (here > 0) & ((aim == here) | ~np.isfinite(worth.max(axis=1)))
        going, here, aim = going[~stops], here[~stops], aim[~stops]
        run[going] = here | 1 << first[aim & ~here]
    paid = (tables.paid_usd * bits(count)[run]).sum(axis=1)
    return Outcome(tables.right[rows, tables.chosen[run, rows]], paid, run)
