"""Gate: pairs of tiers. How good a judge must be so that accepting the weak tier's reply pays.

A cascade differs from the strong tier alone where a reply is accepted and only one of the two is
right. With p10 = P(weak right, strong wrong), p01 = P(weak wrong, strong right), TAR the share of
right replies that the judge accepts and FAR that of wrong ones, the accuracy changes by

    gain = P(accepted, weak right, strong wrong) - P(accepted, weak wrong, strong right)
         = TAR p10 - FAR p01,

the second line if the verdict says nothing of the strong reply that the weak one's rightness does
not (`loss_upper` assumes it, `loses_less` does not). So nothing is lost iff FAR / TAR <=
p10 / p01, and a judge that is right in a share r of cases either way needs r >= r* = p01 / (p10 +
p01). With d = p10 + p01 and s = p10 / d,

    gain = d balance,  balance = TAR s - FAR (1 - s) >= -(1 - s).

For a loss of delta at most, balance >= -delta / d. A lower bound of the balance and an upper one of
d give an upper bound of the loss: 0 if the balance is at least 0, else its size times d.
"""

from functools import lru_cache
from math import exp
from typing import Self

from pydantic import BaseModel, NonNegativeInt

from ...bounds import lower_share, upper_share
from .tally import FROZEN, Choices, Counts, Tally

_OF_BALANCE = 0.8
_CUTS = 60
_HALF = 0.5


class Pairs(BaseModel):
    """Counts of questions by which of the two tiers answered them rightly."""

    model_config = FROZEN

    both: NonNegativeInt = 0
    weak_only: NonNegativeInt = 0
    strong_only: NonNegativeInt = 0
    neither: NonNegativeInt = 0

    def __add__(self, other: Self) -> Self:
        names = type(self).model_fields
        return type(self)(**{name: getattr(self, name) + getattr(other, name) for name in names})

    @property
    def count(self) -> int:
        """All questions."""
        return self.both + self.neither + self.unequal

    @property
    def unequal(self) -> int:
        """Questions that one of the two answered rightly."""
        return self.weak_only + self.strong_only

    @property
    def break_even(self) -> float | None:
        """The estimate of r*; None where no question told the tiers apart."""
        return self.strong_only / self.unequal if self.unequal else None

    def break_even_upper(self, confidence: float) -> float:
        """Return a bound that the true r* is not above, with that confidence."""
        return upper_share(self.strong_only, self.unequal, confidence)

    def worth(self) -> tuple[float, float]:
        """Return what accepting wins per right weak reply, and what it loses per wrong one.

        p10 / P(weak right) and p01 / P(weak wrong), estimated.
        """
        right, wrong = self.both + self.weak_only, self.neither + self.strong_only
        return self.weak_only / max(1, right), self.strong_only / max(1, wrong)


def loss_upper(counts: Counts, pairs: Pairs, confidence: float) -> float:
    """Return what accepting costs at most in accuracy, 0-1, with that confidence.

    Against the strong tier alone; judged items and pairs must be of the same kind of questions. 0
    says that nothing is lost; a gain is not told. The probability that the true loss is greater
    than what is returned is 1 - confidence at most. Comparisons are taken for a judge that is right
    as often on right replies as on wrong ones; where it abstains, it counts as wrong.
    """
    for_balance, for_unequal = _shared(confidence)
    balance = balance_lower(counts, pairs, for_balance)
    return max(0.0, -balance) * upper_share(pairs.unequal, pairs.count, for_unequal)


def loses_less(tally: Tally, max_loss: float, confidence: float) -> bool:
    """Tell whether items whose strong reply is known prove that accepting costs less than that.

    Without any assumption: each item loses 1, 0 or -1, and bets against "the mean loss is
    `max_loss` or more" must win what is reached by chance with probability 1 - confidence at most
    (see `learned.evidence`). For a `max_loss` of 0: of the items that were won or lost, more than
    half were won, by an exact bound. Raises ValueError where an item's strong reply is not known.
    """
    if tally.paired != tally.count:
        raise ValueError(
            f"Of {tally.count} items, {tally.count - tally.paired} lack the strong tier's reply. "
            "Give loss_upper the outcomes of other pairs instead."
        )
    if max_loss == 0:
        return lower_share(tally.won, tally.won + tally.lost, confidence) >= _HALF
    from ..learned.evidence import is_less  # noqa: PLC0415  # imports numpy

    return is_less({1: tally.lost, -1: tally.won}, tally.count, max_loss, confidence)


def balance_lower(counts: Counts, pairs: Pairs, confidence: float) -> float:
    """Return a bound that the balance is not below, with that confidence.

    TAR, FAR and s are tested together: each triple has an exact one-sided p-value for each of the
    three, and is refuted where their product is too small (Fisher). They may be multiplied: given
    which replies were right, the verdicts on right and on wrong ones and the strong tier's replies
    do not depend on each other. Bonferroni would add three worst cases up; this takes the worst
    triple that is not refuted, and is still exact.
    """
    if isinstance(counts, Choices):
        step = _budget(confidence, 2) / _CUTS
        right = _ladder(counts.right, counts.count, step)
        share = _ladder(pairs.weak_only, pairs.unequal, step)
        spent = _CUTS + 1
        return min(right[at] + share[spent - at] - 1 for at in range(spent + 1))
    step = _budget(confidence, 3) / _CUTS
    tar = _ladder(counts.accepted_right, counts.right_replies, step)
    # Of wrong replies the judge rejects 1 - FAR.
    rejected = _ladder(counts.rejected_wrong, counts.wrong_replies, step)
    share = _ladder(pairs.weak_only, pairs.unequal, step)
    spent = _CUTS + 2
    least = 1.0
    for at, s in enumerate(share):
        left = spent - at
        lost = 1 - s
        worst = min(
            good * s + bad * lost
            for good, bad in zip(tar[: left + 1], rejected[left::-1], strict=True)
        )
        least = min(least, worst - lost)
    return least


def precision_floor(worth: tuple[float, float], accepted: float, max_loss: float) -> float | None:
    """Return the least share of right ones among accepted replies that keeps the promise.

    An estimate, for watching what is accepted. `worth`: what a right one wins (a) and a wrong one
    loses (b); `accepted`: the share of replies that is. If a share q of them is right, accuracy
    changes by accepted (q a - (1 - q) b), which is -max_loss at q = (b - max_loss / accepted) /
    (a + b). None where nothing is won or lost, or nothing accepted.
    """
    won, lost = worth
    if won + lost == 0 or accepted == 0:
        return None
    return max(0.0, lost - max_loss / accepted) / (won + lost)


def _shared(confidence: float) -> tuple[float, float]:
    """Return the confidences of two bounds that hold together with this one (Bonferroni).

    The balance gets most of the doubt: mostly it decides alone.
    """
    doubt = 1 - confidence
    return 1 - _OF_BALANCE * doubt, 1 - (1 - _OF_BALANCE) * doubt


def _budget(confidence: float, parts: int) -> float:
    """Return what minus the logs of `parts` independent p-values exceed by chance alone.

    That is, with probability 1 - confidence: half a chi-square with two degrees for each.
    """
    low, high = 0.0, 100.0
    for _ in range(60):
        middle = (low + high) / 2
        term, tail = 1.0, 0.0
        for each in range(parts):
            tail += term
            term *= middle / (each + 1)
        low, high = (middle, high) if exp(-middle) * tail > 1 - confidence else (low, middle)
    return high


@lru_cache(maxsize=4096)
def _ladder(good: int, count: int, step: float) -> tuple[float, ...]:
    """Return the least share that is not refuted if n steps of the budget are spent on it.

    For n from 0 to all. Whoever splits a budget of `_CUTS` steps among k shares spends no more on
    any of them than a split of `_CUTS` + k - 1 whole steps does, so it is enough to try those.
    """
    spent = (1 - exp(-step * each) for each in range(1, _CUTS + 3))
    return (1.0, *(lower_share(good, count, confidence) for confidence in spent))
