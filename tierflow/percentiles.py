"""Ground: percentiles. Each is one of the values, by nearest rank."""

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], share: float) -> float:
    """Return the least of the values that so many of them, a share of 0-1, do not exceed.

    `values`: in any order, one at least.
    """
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
