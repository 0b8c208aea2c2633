"""Recordings: what each model answered to the same items, and how good that was. Learns nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Recorded:
    """One model's answers to n items, in their order.

    `texts`: whole replies. `values`: what was read from them, as text, "" where nothing was.
    `quality`: (n,) in [0, 1], 1 for right. `cost_usd`: (n,), of each call alone.
    """

    model: str
    texts: Sequence[str]
    values: Sequence[str]
    quality: Floats
    cost_usd: Floats

    def at(self, rows: Rows) -> "Recorded":
        """Return the answers to some of the items."""
        return Recorded(
            self.model,
            [self.texts[int(row)] for row in rows],
            [self.values[int(row)] for row in rows],
            self.quality[rows],
            self.cost_usd[rows],
        )


@dataclass(frozen=True, slots=True)
class Recordings:
    """n items, and what each model answered. `asks`: texts. `strata`: the kind of each item."""

    asks: Sequence[str]
    strata: Sequence[str]
    models: Mapping[str, Recorded]

    def __len__(self) -> int:
        return len(self.asks)

    def __getitem__(self, model: str) -> Recorded:
        return self.models[model]

    def at(self, rows: Rows) -> "Recordings":
        """Return some of the items."""
        return Recordings(
            [self.asks[int(row)] for row in rows],
            [self.strata[int(row)] for row in rows],
            {model: recorded.at(rows) for model, recorded in self.models.items()},
        )
