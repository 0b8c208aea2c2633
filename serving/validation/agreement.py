"""Agreement: does the other way say the same? Exactly, or no less than the plain way's own rerun.

At temperature 0 a lossless scheme gives the same tokens, up to rounding: in float32 none differs,
and in lower precision an engine differs from itself, because batches add up in another order. So
where the plain engine's own rerun is equal throughout, the other must be, too; where it is not,
the other may differ by so much more at most.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from ...bounds import lower_share, upper_share
from .measured import Block, Pair

MOST_MORE = 0.05
"""So much more often than the plain way's rerun the other may differ, by a 95 % bound."""

_EACH = 0.975


@dataclass(frozen=True, slots=True)
class Differing:
    """So many of so many replies were not the same. `first_at`: the token, by median; else None."""

    different: int
    compared: int
    first_at: float | None = None


@dataclass(frozen=True, slots=True)
class Agreement:
    """How the other way differs from the plain one, and the plain one from its own rerun."""

    other: Differing
    rerun: Differing
    agrees: bool
    reason: str


def agreement(pairs: Iterable[Pair]) -> Agreement:
    """Return whether the outputs agree. Without anything to compare they do not."""
    pairs = list(pairs)
    other = _differing((pair.plain, pair.other) for pair in pairs)
    rerun = _differing((pair.plain, pair.again) for pair in pairs if pair.again is not None)
    agrees, reason = _judged(other, rerun)
    return Agreement(other, rerun, agrees, reason)


def _judged(other: Differing, rerun: Differing) -> tuple[bool, str]:
    if other.compared == 0:
        return False, "no outputs were compared"
    said = f"{other.different} of {other.compared} outputs differ"
    if other.different == 0:
        return True, f"all {other.compared} outputs are equal"
    if rerun.compared == 0:
        return False, f"{said}, and the plain engine's rerun was not looked at"
    own = f"{rerun.different} of {rerun.compared} by the plain engine's own rerun"
    if rerun.different == 0:
        return False, f"{said}, and none by the plain engine's own rerun"
    more = upper_share(other.different, other.compared, _EACH) - lower_share(
        rerun.different, rerun.compared, _EACH
    )
    if more <= MOST_MORE:
        return True, f"{said}, and {own}: not more than {MOST_MORE:.0%} apart, by a bound"
    return False, f"{said}, and {own}: they may be {more:.0%} apart, above {MOST_MORE:.0%}"


def _differing(blocks: Iterable[tuple[Block, Block]]) -> Differing:
    compared, places = 0, list[int]()
    for one, two in blocks:
        for left, right in zip(one.served, two.served, strict=True):
            compared += 1
            if left.said != right.said:
                places.append(_first_difference(left.said, right.said))
    return Differing(len(places), compared, median(places) if places else None)


def _first_difference(one: tuple[int, ...] | str, two: tuple[int, ...] | str) -> int:
    # zip is not strict: one may go on where the other ends.
    same = (at for at, (left, right) in enumerate(zip(one, two, strict=False)) if left != right)
    return next(same, min(len(one), len(two)))
