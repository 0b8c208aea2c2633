"""Cascade: where a step may escalate to, and who decides. The rule only; chain.py goes by it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from .gate.calibration import MAX_AGE_S
from .judges import Judge

AuditBy = Literal["tier", "people"]
"""Who says whether an accepted answer is right: the strongest tier, or whoever reviews it."""


@dataclass(frozen=True, slots=True)
class Cascade:
    """Where a step may escalate to, and who decides.

    `to`: the stronger tier, or several in order. `judge`: scores a reply 0-1. A reply that does
    not parse, or a tier that is down, escalates unjudged; a judge that fails does not accept.

    `max_loss`: the accuracy, 0-1, that accepting cheaper answers may cost against the strongest
    tier alone, proven at `confidence` by `tierflow judge calibrate`, which also sets the least
    score that is accepted. Without that proof, or when it is older than `max_age_s` seconds, the
    strongest tier answers. `audit`: the share of accepted answers that are looked at afterwards,
    to see whether the proof still holds; `audit_by`: "tier" has the strongest tier answer as well,
    and `same(a, b)` compares both, None takes `==`; "people" keeps question and answer for
    `tierflow judge review`. Calibrate anew after a change of it: the proof says what to expect.

    `max_loss=None`: nothing is proven, and `threshold` (None: the judge's own) is the author's.
    """

    to: str | tuple[str, ...]
    judge: Judge
    threshold: float | None = None
    max_loss: float | None = 0.01
    confidence: float = 0.95
    audit: float = 0.02
    same: Callable[[Any, Any], bool] | None = None
    max_age_s: float = MAX_AGE_S
    audit_by: AuditBy = "tier"

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold is {self.threshold}, but a judge scores from 0 to 1.")
        if not hasattr(self.judge, "score"):
            raise TypeError(f"judge={self.judge!r:.60} is no judge. Call it: judge=agreement().")
        if not self.stronger:
            raise ValueError("Cascade(to=...) names no tier. Name the stronger one, or drop it.")
        if self.max_loss is not None and not 0 <= self.max_loss < 1:
            raise ValueError(f"max_loss is {self.max_loss}, but accuracy goes from 0 to 1.")
        if self.max_loss is not None and self.threshold is not None:
            raise ValueError(
                "Cascade(threshold=...) is a line of your own, and max_loss asks for one that is "
                "proven. Drop the threshold, or write max_loss=None to go without proof."
            )
        if self.max_loss is not None and len(self.stronger) > 1:
            raise ValueError(
                f"Cascade(to={self.stronger}) names several tiers, and proof is of one pair. Name "
                "one, or write max_loss=None to go without proof."
            )
        for name, value in (("confidence", self.confidence), ("audit", self.audit)):
            if not 0 <= value <= 1 or (name == "confidence" and value in (0, 1)):
                raise ValueError(f"{name} is {value}, but it is a share between 0 and 1.")
        if self.audit_by not in get_args(AuditBy):
            raise ValueError(f'audit_by is {self.audit_by!r:.60}. Give "tier" or "people".')

    @property
    def stronger(self) -> tuple[str, ...]:
        """The tiers after the first, in order."""
        return (self.to,) if isinstance(self.to, str) else self.to

    @property
    def least_score(self) -> float:
        """The least score that is accepted where nothing is proven."""
        return self.judge.threshold if self.threshold is None else self.threshold

    @property
    def identity(self) -> str:
        """All of the rule that decides an answer, but for what was proven since."""
        line = self.least_score if self.max_loss is None else f"{self.max_loss}@{self.confidence}"
        return f"{self.judge.identity}:{line}"

    def agree(self, mine: Any, other: Any) -> bool:
        """Tell whether two values are the same answer."""
        return bool(mine == other if self.same is None else self.same(mine, other))
