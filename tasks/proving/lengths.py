"""Calibration lengths: whether a judge accepts wrong replies for being long. Computes only."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from .calibration import Outcome

_CHANCE = 0.05
"""More than chance: so seldom would a judge that does not look at length differ as much."""


@dataclass(frozen=True, slots=True)
class Third:
    """Some of the replies, by length in letters. `wrong_accepted`: of the wrong ones, `wrong`."""

    name: str
    shortest: int
    longest: int
    items: int
    right: int
    accepted: int
    wrong_accepted: int

    @property
    def wrong(self) -> int:
        """Replies that were wrong, whatever the verdict."""
        return self.items - self.right


def by_length(outcomes: Sequence[Outcome], threshold: float) -> Iterable[str]:
    """Yield a table of the replies by length, and a sentence where the judge seems to favour it."""
    found = thirds(outcomes, threshold)
    if not found:
        return
    yield from (
        "## By length of the reply",
        "",
        "| replies | letters | items | right | accepted | wrong ones accepted |",
        "| --- | --- | --- | --- | --- | --- |",
    )
    for each in found:
        yield (
            f"| {each.name} | {each.shortest}-{each.longest} | {each.items} "
            f"| {each.right / each.items:.0%} | {each.accepted / each.items:.0%} "
            f"| {each.wrong_accepted} of {each.wrong} |"
        )
    short, long = found[0], found[-1]
    if (chance := chance_of_more(long, short)) <= _CHANCE:
        yield ""
        yield (
            "The judge seems to favour length. Of the wrong replies it accepts "
            f"{long.wrong_accepted} of {long.wrong} among the {long.name}, and "
            f"{short.wrong_accepted} of {short.wrong} among the {short.name}: by chance that would "
            f"be so with a probability of {chance:.2g} (Fisher's exact test)."
        )
    yield ""


_NAMES = (("all",), ("shortest", "longest"), ("shortest", "middle", "longest"))


def thirds(outcomes: Sequence[Outcome], threshold: float) -> list[Third]:
    """Return the replies as shortest, middle and longest; equally long ones stay together.

    So the thirds are not equally large, and where one is empty there are fewer. Items without a
    reply, or of before lengths were written down, are left out.
    """
    known = [each for each in outcomes if each.letters]
    if not known:
        return []
    low, high = np.quantile([each.letters for each in known], [1 / 3, 2 / 3])
    groups: tuple[list[Outcome], ...] = ([], [], [])
    for each in known:
        groups[_place(each.letters, float(low), float(high))].append(each)
    held = [group for group in groups if group]
    names = _NAMES[len(held) - 1]
    return [_third(name, group, threshold) for name, group in zip(names, held, strict=True)]


def _place(letters: int, low: float, high: float) -> int:
    if low < letters < high or letters == low == high:
        return 1
    return 0 if letters <= low else 2


def _third(name: str, outcomes: Sequence[Outcome], threshold: float) -> Third:
    accepted = [each for each in outcomes if each.score >= threshold]
    return Third(
        name,
        min(each.letters for each in outcomes),
        max(each.letters for each in outcomes),
        len(outcomes),
        sum(each.right for each in outcomes),
        len(accepted),
        sum(not each.right for each in accepted),
    )


def chance_of_more(some: Third, others: Third) -> float:
    """Return how likely chance alone accepts as many of the wrong replies in `some`, or more.

    Given how many were accepted in both together: Fisher's exact test, one-sided. 1 for no item.
    """
    accepted, wrong = some.wrong_accepted + others.wrong_accepted, some.wrong + others.wrong
    most = min(some.wrong, accepted)
    ways = sum(
        comb(some.wrong, count) * comb(others.wrong, accepted - count)
        for count in range(some.wrong_accepted, most + 1)
    )
    return ways / comb(wrong, accepted)
