"""Assignment: which arm a unit gets. The same on every machine, and monotone in the share.

Source of the method: hashing as in GrowthBook and flagd; see docs/adr/ for why SHA-256.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Arm: TypeAlias = Literal["baseline", "candidate"]


@dataclass(frozen=True, slots=True)
class Variant:
    """What the candidate changes; None leaves a part of the step as it is.

    `prompt`: a prompt function with the same parameters. `tier`: the tier that answers first.
    """

    prompt: Callable[..., Any] | None = None
    tier: str | None = None


@dataclass(frozen=True, slots=True)
class Rollout:
    """A candidate that answers for a share of the units, 0-1. A unit is a flow run.

    A unit that has the candidate keeps it while the share grows.
    """

    name: str
    candidate: Variant
    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share is {self.share}, but must be between 0 and 1 (0.05 is 5 %).")

    def arm_of(self, unit: str) -> Arm:
        """Return the arm of a unit."""
        return "candidate" if position(self.name, unit) < self.share else "baseline"


def position(rollout: str, unit: str) -> float:
    """Return a unit's fixed place in [0, 1), independent between rollouts."""
    digest = hashlib.sha256(f"{rollout}\x1f{unit}".encode()).digest()
    # 53 bits fit a float exactly, so that the place is always below 1.
    return (int.from_bytes(digest[:8]) >> 11) / 2**53
