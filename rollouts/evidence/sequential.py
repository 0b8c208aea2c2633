"""Sequential: how far both arms must differ at a few planned looks before a known horizon.

An error of `alpha` in all is spent as the information grows, little at first: by
alpha(t) = 2 - 2 Phi(z / sqrt(t)) on each side, in the manner of O'Brien and Fleming. The bound of a
look is such that a difference of 0 crosses it, having crossed none before, with what is to be spent
there. Looks may come whenever they come; their number and time must not depend on what was seen.

Source: Lan & DeMets 1983, Biometrika 70; the recursion: Armitage, McPherson & Rowe 1969.
"""

from collections.abc import Sequence
from math import erfc, sqrt
from statistics import NormalDist
from typing import Any, TypeAlias

_POINTS = 1001
_MOST_Z = 12.0

Floats: TypeAlias = Any
"""Arrays of numpy, which is imported with the first bound."""


def spent(fraction: float, alpha: float) -> float:
    """Return the two-sided error that may have been spent at a fraction (0-1) of the horizon."""
    if fraction <= 0:
        return 0.0
    reach = NormalDist().inv_cdf(1 - alpha / 4) / sqrt(min(fraction, 1.0))
    return 4 * _tail(reach)


def bounds(fractions: Sequence[float], alpha: float) -> tuple[float, ...]:
    """Return the bound of |z| at each look. `fractions`: of the horizon, rising, in (0, 1].

    Raises ValueError for others.
    """
    if list(fractions) != sorted(set(fractions)) or not all(0 < each <= 1 for each in fractions):
        raise ValueError(f"{list(fractions)} are no looks: give rising fractions up to 1.")
    import numpy as np  # noqa: PLC0415  # numpy is slow to import

    found = list[float]()
    # Before the first look all is at 0; then a density of what has crossed no bound.
    places, masses, before, done = np.zeros(1), np.ones(1), 0.0, 0.0
    for fraction in fractions:
        now, step = spent(fraction, alpha), sqrt(fraction - before)
        bound = _bound(places, masses, step, sqrt(fraction), now - done)
        found.append(bound)
        edge = bound * sqrt(fraction)
        grid = np.linspace(-edge, edge, _POINTS)
        distance = (grid[:, None] - places[None, :]) / step
        density = np.exp(-(distance**2) / 2) @ masses / (step * sqrt(2 * np.pi))
        places, masses = grid, density * _weights(grid)
        before, done = fraction, now
    return tuple(found)


def _bound(places: Floats, masses: Floats, step: float, root: float, error: float) -> float:
    import scipy  # noqa: PLC0415  # scipy is slow to import

    # It loads its parts when they are asked for; their types are half unknown to a strict checker.
    library: Any = scipy
    solve, below = library.optimize.brentq, library.special.ndtr

    def excess(bound: float) -> float:
        edge = bound * root
        beyond = below((places - edge) / step) + below((-edge - places) / step)
        return float(beyond @ masses) - error

    # What is too little to be told apart from nothing leaves no bound to cross.
    return _MOST_Z if excess(_MOST_Z) > 0 else float(solve(excess, 0.0, _MOST_Z, xtol=1e-9))


def _weights(grid: Floats) -> Floats:
    """Return the weights of Simpson's rule on an odd number of points."""
    import numpy as np  # noqa: PLC0415  # numpy is slow to import

    weights = np.full(len(grid), 2.0)
    weights[1::2] = 4.0
    weights[[0, -1]] = 1.0
    return weights * (grid[1] - grid[0]) / 3


def _tail(value: float) -> float:
    """Return the chance that a standard normal is above a value."""
    return erfc(value / sqrt(2)) / 2
