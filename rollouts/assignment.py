"""Assignment: which arm a unit gets. The same on every machine, and monotone in the weight.

Source of the method: hashing as in GrowthBook and flagd; see docs/adr/ for why SHA-256.
"""

import hashlib

from .observations import Arm


def arm_of(rollout: str, unit: str, weight: float) -> Arm:
    """Return the arm of a unit. One that has the candidate keeps it while the weight grows."""
    return "candidate" if position(rollout, unit) < weight else "baseline"


def position(rollout: str, unit: str) -> float:
    """Return a unit's fixed place in [0, 1), independent between rollouts."""
    digest = hashlib.sha256(f"{rollout}\x1f{unit}".encode()).digest()
    # 53 bits fit a float exactly, so that the place is always below 1.
    return (int.from_bytes(digest[:8]) >> 11) / 2**53
