"""Rates: how good answers were, in shares and means with their intervals. Knows no store.

Shares have exact intervals (Clopper & Pearson), means some that hold for every distribution
(Hoeffding): both of 95 %, for evaluations of answers that were drawn at random. What people
say of answers of their own choice is no such sample.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ...bounds import lower_share, mean_bounds, upper_share
from ..ledger import Ended, is_aside
from .store import Counted

By: TypeAlias = Literal["step", "tier", "model", "arm"]
"""What answers are told apart by."""

CONFIDENCE = 0.95
SATISFACTION = "satisfaction"

_RATES = {
    "safety": ("safety compliance", "pass"),
    "groundedness": ("hallucination", "hallucinated"),
}
"""Evaluations whose labels are a rate that operators ask for: its name, and the label it counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One figure about the answers of a group. `kind`: "share" or "mean". `value`: 0-1.

    `low`, `high`: its interval. `count`: how many answers or evaluations it rests on.
    """

    group: str
    name: str
    kind: Literal["share", "mean"]
    value: float
    low: float
    high: float
    count: int


def measures(ended: Iterable[Ended], counted: Iterable[Counted], by: By = "step") -> list[Measure]:
    """Return the figures of each group, groups in order of their names.

    Task success (steps that ended well, of all), safety compliance, hallucination, satisfaction
    (what each person said last of an answer, and other evaluations of that name), then each other
    evaluation's mean and labels.
    """
    answers = [each for each in ended if not is_aside(each.step)]
    found = list(counted)
    groups = sorted({getattr(each, by) for each in (*answers, *found)})
    return [
        measure
        for group in groups
        for measure in _of_group(
            group,
            [each for each in answers if getattr(each, by) == group],
            [each for each in found if getattr(each, by) == group],
        )
    ]


def _of_group(group: str, answers: Sequence[Ended], found: Sequence[Counted]) -> Iterator[Measure]:
    ended = sum(each.count for each in answers)
    if ended:
        yield _share(group, "task success", sum(each.ok for each in answers), ended)
    for name, (rate, label) in _RATES.items():
        yield from _labels(group, [each for each in found if each.name == name], {label: rate})
    # Who says something under two names is one person all the same.
    people = [
        each
        for each in found
        if (each.last if each.source == "human" else each.name == SATISFACTION)
    ]
    yield from _mean(group, SATISFACTION, people)
    for name in sorted({each.name for each in found if not _is_a_rate(each)}):
        mine = [each for each in found if each.name == name and not _is_a_rate(each)]
        if name != SATISFACTION:
            yield from _mean(group, name, mine)
        labels = sorted({each.label for each in mine if each.label is not None})
        yield from _labels(group, mine, {label: f"{name}: {label}" for label in labels})


def _is_a_rate(each: Counted) -> bool:
    return each.name in _RATES and each.label is not None


def _labels(group: str, found: Sequence[Counted], named: Mapping[str, str]) -> Iterator[Measure]:
    """Yield the share of each label among all that have one. `named`: what it is called."""
    labelled = sum(each.count for each in found if each.label is not None)
    if labelled:
        for label, name in named.items():
            count = sum(each.count for each in found if each.label == label)
            yield _share(group, name, count, labelled)


def _share(group: str, name: str, count: int, whole: int) -> Measure:
    # Each side has half of what may go wrong.
    confidence = 1 - (1 - CONFIDENCE) / 2
    return Measure(
        group=group,
        name=name,
        kind="share",
        value=count / whole,
        low=lower_share(count, whole, confidence),
        high=upper_share(count, whole, confidence),
        count=whole,
    )


def _mean(group: str, name: str, found: Sequence[Counted]) -> Iterator[Measure]:
    scored = sum(each.scored for each in found)
    if scored:
        # Sums of many floats end a hair outside.
        mean = min(1.0, max(0.0, math.fsum(each.total for each in found) / scored))
        low, high = mean_bounds(mean, scored, CONFIDENCE)
        yield Measure(
            group=group, name=name, kind="mean", value=mean, low=low, high=high, count=scored
        )
