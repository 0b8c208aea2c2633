"""Horizon: an A/B test of so many units, with a few planned looks on the way. Decides only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite

from .evidence import Interval
from .evidence.sequential import bounds
from .rollout import Rollout

_LOOK = "look "
"""Before the number of a look: what is held fast of it is its fraction of the horizon."""


@dataclass(frozen=True, slots=True)
class Tested:
    """`ended`: why the test is over, "" where it is not. `looks`: all so far, to be held fast."""

    ended: str = ""
    looks: Mapping[str, float] = field(default_factory=dict[str, float])


def until_horizon(
    rollout: Rollout, units: int, differences: Mapping[str, Interval], held: Mapping[str, float]
) -> Tested:
    """Return whether a test is over after so many units of both arms.

    `held`: what was held fast so far, which has the looks. At each look all metrics are tested, by
    Bonferroni, so that equal arms differ in any of them with probability 1 - confidence at most.
    """
    horizon = rollout.horizon_units or 0
    fraction = min(units / horizon, 1.0) if horizon else 1.0
    past = {name: at for name, at in held.items() if name.startswith(_LOOK)}
    at_end = f"Horizon reached: {units:,} of {horizon:,} units"
    told = "; ".join(f"{name} {found}" for name, found in differences.items())
    number = int(fraction * rollout.looks + 1e-9)
    done = max((int(name.removeprefix(_LOOK)) for name in past), default=0)
    if number <= done:
        return Tested(f"{at_end}. {told}" if fraction == 1 else "", past)
    looks = {**past, f"{_LOOK}{number}": fraction}
    alpha = (1 - rollout.confidence) / max(len(rollout.metrics), 1)
    bound = bounds(sorted(looks.values()), alpha)[-1]
    differs = [name for name, found in differences.items() if abs(_z(found)) >= bound]
    look = f"look {number} of {rollout.looks}, |z| of {bound:.2f} or more"
    if fraction == 1:
        by = f"different are {', '.join(differs)}" if differs else "no difference is proven"
        return Tested(f"{at_end}: {by} ({look}). {told}", looks)
    if not differs:
        return Tested("", looks)
    return Tested(
        f"Different before the horizon, at {units:,} of {horizon:,} units: {', '.join(differs)} "
        f"({look}). {told}",
        looks,
    )


def _z(found: Interval) -> float:
    return found.estimate / found.error if isfinite(found.error) and found.error else 0.0
