"""placing: which replica of a pool gets a call, as this process knows them. Part of tasks."""

from .pool import PoolInUse
from .pools import Pools, hints
from .tokenised import Tokenised

__all__ = ["PoolInUse", "Pools", "Tokenised", "hints"]
