"""Gate: labelled items and their counts. What a judge said, and what was so. Bounds nothing."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, NonNegativeInt

from ...bounds import lower_share, upper_share

ALL = "all"
"""The stratum of items that name none."""

FROZEN = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class Judged:
    """A reply that a judge accepted or rejected, and whether it was right.

    `score`: what the verdict was made of, 0-1. `strong_right`: whether the strong tier's reply to
    the same question was right, None where that is not known.
    """

    accepted: bool
    right: bool
    stratum: str = ALL
    score: float | None = None
    strong_right: bool | None = None


@dataclass(frozen=True, slots=True)
class Compared:
    """Two replies that a judge compared in both orders, and which of them is the better one.

    `verdict` and `swapped`: the reply it named in each order, None for neither. A judge that is
    moved by the order has said nothing: it abstains, which escalates and is not reliable.
    """

    verdict: str | None
    swapped: str | None
    label: str
    stratum: str = ALL

    @property
    def abstained(self) -> bool:
        """Whether the two orders name different replies, or one names none."""
        return self.verdict is None or self.verdict != self.swapped

    @property
    def right(self) -> bool:
        """Whether both orders name the better reply."""
        return not self.abstained and self.verdict == self.label


class Tally(BaseModel):
    """Counts of judged replies.

    Of the `paired` ones, whose strong reply is known too, `won` were accepted, right, and the
    strong reply wrong; `lost` were accepted, wrong, and the strong reply right.
    """

    model_config = FROZEN

    kind: Literal["judged"] = "judged"
    accepted_right: NonNegativeInt = 0
    accepted_wrong: NonNegativeInt = 0
    rejected_right: NonNegativeInt = 0
    rejected_wrong: NonNegativeInt = 0
    paired: NonNegativeInt = 0
    won: NonNegativeInt = 0
    lost: NonNegativeInt = 0

    @classmethod
    def of(cls, items: Iterable[Judged]) -> Self:
        """Count items."""
        counts = dict.fromkeys(cls.model_fields, 0)
        del counts["kind"]
        for item in items:
            verdict = "accepted" if item.accepted else "rejected"
            counts[f"{verdict}_{'right' if item.right else 'wrong'}"] += 1
            counts["paired"] += item.strong_right is not None
            counts["won"] += item.accepted and item.right and item.strong_right is False
            counts["lost"] += item.accepted and not item.right and item.strong_right is True
        return cls.model_validate(counts)

    def __add__(self, other: Self) -> Self:
        names = set(type(self).model_fields) - {"kind"}
        return type(self)(**{name: getattr(self, name) + getattr(other, name) for name in names})

    @property
    def count(self) -> int:
        """All items."""
        return self.right_replies + self.wrong_replies

    @property
    def right(self) -> int:
        """Items whose verdict was the right one."""
        return self.accepted_right + self.rejected_wrong

    @property
    def accepted(self) -> int:
        """Replies that were accepted."""
        return self.accepted_right + self.accepted_wrong

    @property
    def right_replies(self) -> int:
        """Replies that were right, whatever the verdict."""
        return self.accepted_right + self.rejected_right

    @property
    def wrong_replies(self) -> int:
        """Replies that were wrong, whatever the verdict."""
        return self.accepted_wrong + self.rejected_wrong

    def rates(self, confidence: float) -> tuple[float, float]:
        """Return a lower bound of the true-accept rate and an upper one of the false-accept rate.

        Each holds with that confidence by itself.
        """
        return (
            lower_share(self.accepted_right, self.right_replies, confidence),
            upper_share(self.accepted_wrong, self.wrong_replies, confidence),
        )


class Choices(BaseModel):
    """Counts of comparisons: `right`, `wrong`, and those where the judge `abstained`."""

    model_config = FROZEN

    kind: Literal["compared"] = "compared"
    right: NonNegativeInt = 0
    wrong: NonNegativeInt = 0
    abstained: NonNegativeInt = 0

    @classmethod
    def of(cls, items: Iterable[Compared]) -> Self:
        """Count items."""
        listed = list(items)
        right, abstained = sum(each.right for each in listed), sum(e.abstained for e in listed)
        return cls(right=right, abstained=abstained, wrong=len(listed) - right - abstained)

    def __add__(self, other: Self) -> Self:
        return type(self)(
            right=self.right + other.right,
            wrong=self.wrong + other.wrong,
            abstained=self.abstained + other.abstained,
        )

    @property
    def count(self) -> int:
        """All items."""
        return self.right + self.wrong + self.abstained

    @property
    def accepted(self) -> int:
        """Items with a verdict."""
        return self.right + self.wrong


Counts = Tally | Choices


def total(counts: Iterable[Counts]) -> Counts:
    """Return the sum of counts of one kind; no item at all if there are none."""
    listed = list(counts)
    choices = [each for each in listed if isinstance(each, Choices)]
    if choices:
        return sum(choices, Choices())
    return sum((each for each in listed if isinstance(each, Tally)), Tally())
