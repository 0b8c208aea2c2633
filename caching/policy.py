"""Policy: when a step's answers may be kept and served again, and for how long."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactCache:
    """Serve an answer again to the very same request. All times are seconds.

    `ttl_s`: how long an answer is fresh, None for the setting `cache.ttl_s`. `stale_s`: how much
    longer it may be served while a new one is asked for in the background. `failures_ttl_s`: how
    long a failure that would come again (the provider rejects the request) is remembered; 0 for
    not. `any_temperature`: keep sampled answers too; by default only those of temperature 0 are.
    `tags`: words to invalidate by. `refresh`: ask anew, and keep that. `read_only`: keep nothing.
    """

    ttl_s: float | None = None
    stale_s: float = 0.0
    failures_ttl_s: float = 60.0
    any_temperature: bool = False
    tags: tuple[str, ...] = ()
    refresh: bool = False
    read_only: bool = False

    def __post_init__(self) -> None:
        for name in ("ttl_s", "stale_s", "failures_ttl_s"):
            seconds: Any = getattr(self, name)
            if seconds is not None and not isinstance(seconds, int | float):
                raise TypeError(f"{name} is {seconds!r:.60}, but must be a number of seconds.")
        if self.ttl_s is not None and self.ttl_s <= 0:
            raise ValueError(f"ttl_s is {self.ttl_s}, but must be above 0. Use cache=None for off.")
        for name in ("ttl_s", "stale_s", "failures_ttl_s"):
            seconds = getattr(self, name)
            # Written so that what is no number at all is refused, too.
            if seconds is not None and not 0 <= seconds < math.inf:
                raise ValueError(f"{name} is {seconds}, but must not be below 0, nor without end.")
        if isinstance(self.tags, str):
            raise TypeError(f"tags is the text {self.tags!r}. Give a tuple: tags=({self.tags!r},).")
        tags: tuple[Any, ...] = tuple(self.tags)
        for tag in tags:
            if not isinstance(tag, str) or not tag:
                raise TypeError(f"tags holds {tag!r:.60}. Give words, such as tags=('prices',).")
        # A list would be no key of any table.
        object.__setattr__(self, "tags", tags)
        if self.refresh and self.read_only:
            raise ValueError("refresh asks anew to keep the answer, and read_only keeps none.")

    def allows(self, temperatures: Iterable[float | None]) -> bool:
        """Tell whether answers sampled at these temperatures may be kept. None: unknown."""
        return self.any_temperature or all(each == 0 for each in temperatures)


@dataclass(frozen=True, slots=True, kw_only=True)
class SemanticCache(ExactCache):
    """Serve an answer also to a question that only means the same, once that is proven to work.

    `max_wrong_rate`: the share of wrong answers among those served to similar questions stays
    below it, with this `confidence`, judged by checks on the step's own traffic; until they
    suffice, nothing is served. Two answers are the same if their values are equal, or by `same`,
    which gets both values; or, for texts, if the model of the tier `judge` says so.
    """

    max_wrong_rate: float = 0.01
    confidence: float = 0.95
    same: Callable[[Any, Any], bool] | None = None
    judge: str | None = None

    def __post_init__(self) -> None:
        # Without arguments super() finds the class from before slots were added.
        super(SemanticCache, self).__post_init__()
        for name, least in (("max_wrong_rate", 0.0), ("confidence", 0.5)):
            if not least < (rate := getattr(self, name)) < 1:
                raise ValueError(f"{name} is {rate}, but must be above {least:g} and below 1.")
        if self.same is not None and self.judge is not None:
            raise ValueError("same and judge both compare answers. Give one of them.")
