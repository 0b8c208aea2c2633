"""Route store: what was learned of steps' tiers. The contract of its backends."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .learned import LearnedRoute


class Routes(Protocol):
    """Keeps learned routes by step. Raises StoreError where the store cannot be used.

    Processes may share it. What was written is durable when a call returns.
    """

    def newest_id(self, step: str) -> int | None:
        """Return what tells a step's newest route from older ones, None without any."""
        ...

    def newest(self, step: str) -> "LearnedRoute | None":
        """Return the route that was added last. Raises StoreError for one that cannot be read."""
        ...

    def add(self, route: "LearnedRoute") -> None:
        """Keep a route."""
        ...

    def steps(self) -> Sequence[str]:
        """Return the steps that a route was learned for, sorted."""
        ...

    def close(self) -> None:
        """Close what is open; the next call opens it again."""
        ...
