"""Recorded answers to learn routes from, and a route that was learned from them."""

from functools import cache

import numpy as np

from tierflow.routing.gate import Binding
from tierflow.routing.learned import Recorded, Recordings
from tierflow.routing.routes.learned import LearnedRoute
from tierflow.routing.routes.learning import learn_route

BOUND_TO = Binding(models=("fast: a", "frontier: b"), prompt="p", judge="same")
NOW = 1_800_000_000.0
COSTS = {"fast": 0.001, "standard": 0.004, "frontier": 0.02}


def recorded(count: int = 500, seed: int = 0) -> Recordings:
    """Sums, which all tiers can do, and poems, which only the last can write."""
    random = np.random.default_rng(seed)
    poem = random.random(count) < 0.3
    right = {
        "fast": ~poem & (random.random(count) < 0.97),
        "standard": ~poem & (random.random(count) < 0.98),
        "frontier": random.random(count) < 0.95,
    }
    return Recordings(
        [f"Write a poem about {n}" if each else f"Add {n} and 7" for n, each in enumerate(poem)],
        [""] * count,
        {
            name: Recorded(
                name,
                ["Here it is."] * count,
                [f"right {n}" if good else f"{name} {n}" for n, good in enumerate(right[name])],
                right[name].astype(np.float64),
                np.full(count, COSTS[name]),
            )
            for name in right
        },
    )


@cache
def a_route(step: str = "triage") -> LearnedRoute:
    """A route that was learned from six of ten recorded items."""
    items = recorded()
    learns = np.arange(len(items)) % 10 < 6
    return learn_route(step, items, learns, BOUND_TO, at=NOW)
