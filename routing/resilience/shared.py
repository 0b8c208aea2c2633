"""Shared: where workers tell each other of breakers and buckets. A Protocol; knows no database."""

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

from .breaker import Breaker
from .buckets import Level

ChangeBreaker: TypeAlias = Callable[[Breaker, float], Breaker]
"""Returns a breaker after a transition. The float: the time, on the clock of its times."""

ChangeLevel: TypeAlias = Callable[[Level, float], Level]


class SharedStates(Protocol):
    """Breakers and buckets by the names of their deployments. All methods raise StoreError.

    Times are on the store's own clock, whose time comes along: machines' clocks differ.
    """

    def read(self) -> tuple[float, Mapping[str, Breaker]]:
        """Return the store's time and all breakers that ever opened or were wary."""
        ...

    def change_breaker(self, name: str, change: ChangeBreaker) -> tuple[float, Breaker]:
        """Change a breaker as nobody else does meanwhile. Return time and breaker.

        `change` may be called more than once; what it returned last counts.
        """
        ...

    def change_level(self, name: str, change: ChangeLevel) -> tuple[float, Level]:
        """Change a bucket's level in the same way."""
        ...

    def close(self) -> None:
        """Close files and connections; the next use opens them again."""
        ...
