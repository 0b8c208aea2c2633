"""Route: what an author asks of a route. Holds the wish only; what is learned stands beside it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from ..gate.calibration import MAX_AGE_S

ReachName: TypeAlias = Literal["cascade routing", "routing", "cascade"]
"""Which sets of tiers may be asked: any, one, or the first few in order."""


@dataclass(frozen=True, slots=True)
class Route:
    """Which tiers are asked, and whose answer is taken, question by question.

    `to`: the stronger tier, or several; with the step's own, two to six. Give one of the two:
    `budget_usd`, the mean cost of an answer to stay under, for the best quality that it buys; or
    `min_quality`, the share of right answers, 0-1, that is proven at `confidence`, for the least
    money. `reach`: "cascade routing" may ask any tier and then another; "routing" asks one, chosen
    by the question alone; "cascade" goes from cheap to dear. `same(a, b)` tells whether two values
    are the same answer, None takes `==`.

    `tierflow route learn` learns it from items that all tiers answer, once for every goal. Without
    that, or when it is older than `max_age_s` seconds or of another prompt or models, the strongest
    tier answers; under a budget the strongest one of which a call fits it.

    Source: arXiv 2410.10347.
    """

    to: str | tuple[str, ...]
    budget_usd: float | None = None
    min_quality: float | None = None
    reach: ReachName = "cascade routing"
    confidence: float = 0.95
    max_age_s: float = MAX_AGE_S
    same: Callable[[Any, Any], bool] | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.stronger) <= 5:
            raise ValueError(
                f"Route(to={self.to!r}) names {len(self.stronger)} tiers. Name one to five besides "
                "the step's own."
            )
        if (self.budget_usd is None) == (self.min_quality is None):
            raise ValueError("Give Route(budget_usd=...) or Route(min_quality=...), one of them.")
        if self.budget_usd is not None and not self.budget_usd > 0:
            raise ValueError(f"budget_usd is {self.budget_usd}: it buys nothing. Give USD above 0.")
        for name, value in (("min_quality", self.min_quality), ("confidence", self.confidence)):
            if value is not None and not 0 < value < 1:
                raise ValueError(f"{name} is {value}, but it is a share between 0 and 1.")
        if self.reach not in get_args(ReachName):
            known = ", ".join(map(repr, get_args(ReachName)))
            raise ValueError(f"reach is {self.reach!r}. Known: {known}.")

    @property
    def stronger(self) -> tuple[str, ...]:
        """The tiers after the first, in order."""
        return (self.to,) if isinstance(self.to, str) else self.to

    @property
    def identity(self) -> str:
        """All of the wish that decides an answer, but for what was learned since."""
        return f"{self.reach}:{self.budget_usd} USD,{self.min_quality}@{self.confidence}"

    def agree(self, mine: Any, other: Any) -> bool:
        """Tell whether two values are the same answer."""
        return bool(mine == other if self.same is None else self.same(mine, other))
