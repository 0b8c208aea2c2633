"""Policy: when a step's answers may be kept, and for how long."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExactCache:
    """Serve an answer again to the very same request.

    `ttl_s`: seconds an answer is kept, None for the setting `cache.ttl_s`. `any_temperature`: keep
    sampled answers too; by default only those of temperature 0 are.
    """

    ttl_s: float | None = None
    any_temperature: bool = False

    def __post_init__(self) -> None:
        if self.ttl_s is not None and self.ttl_s <= 0:
            raise ValueError(f"ttl_s is {self.ttl_s}, but must be above 0. Use cache=None for off.")

    def allows(self, temperatures: Iterable[float | None]) -> bool:
        """Tell whether answers sampled at these temperatures may be kept. None: unknown."""
        return self.any_temperature or all(each == 0 for each in temperatures)
