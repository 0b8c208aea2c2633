"""Troubles: what was escalated in a run, what failed, and why. Counts; holds no text of prompts.

Reasons that differ in their numbers alone are one: "mean token probability 0.21 to 0.58".
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from ..ledger import Row
from .run import Run

_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Escalation:
    """Answers of one step that passed cheaper tiers by, for one reason. `to`: who answered."""

    step: str
    to: str
    why: str
    count: int


@dataclass(frozen=True, slots=True)
class FailedCalls:
    """Calls of one step that failed in one way. `error`: its name in the tree of errors.

    `steps`: how many steps made them; `answered`: how many of these have an answer all the same.
    """

    step: str
    deployment: str
    error: str
    count: int
    steps: int
    answered: int


@dataclass(frozen=True, slots=True)
class FailedSteps:
    """Steps of one name that ended without an answer. `error`: its name."""

    step: str
    error: str
    count: int


def escalations_of(run: Run) -> list[Escalation]:
    """Return what was escalated, the commonest first. An answer counts once for each reason."""
    found = defaultdict[tuple[str, str], list[str]](list)
    for row in run.rows:
        if row.escalations:
            # A row of an older version does not say why.
            found[row.step, row.tier] += (row.passed_by or "unknown").splitlines()
    escalations = [
        Escalation(step, tier, why, count)
        for (step, tier), reasons in found.items()
        for why, count in merged(reasons)
    ]
    return sorted(escalations, key=lambda each: -each.count)


def merged(reasons: Sequence[str]) -> list[tuple[str, int]]:
    """Return reasons that are alike but for their numbers as one, with how many they are."""
    by_words = sorted(reasons, key=_words)
    alike = [list(found) for _, found in groupby(by_words, _words)]
    return [(_with_ranges(found), len(found)) for found in alike]


def _words(reason: str) -> list[str]:
    return _NUMBER.split(reason)


def _with_ranges(alike: Sequence[str]) -> str:
    columns = zip(*(_NUMBER.findall(each) for each in alike), strict=True)
    ranges = [_range(column) for column in columns]
    words = _words(alike[0])
    return words[0] + "".join(number + word for number, word in zip(ranges, words[1:], strict=True))


def _range(numbers: Sequence[str]) -> str:
    low, high = min(numbers, key=float), max(numbers, key=float)
    return low if float(low) == float(high) else f"{low} to {high}"


def failed_calls_of(run: Run) -> list[FailedCalls]:
    """Return the calls that failed, the commonest failure first."""
    found = defaultdict[tuple[str, str, str], list[Row]](list)
    for row in run.rows:
        for call in run.calls.get(row.ref, ()):
            if call.outcome != "ok":
                found[row.step, call.deployment, call.outcome].append(row)
    failed = [
        FailedCalls(
            *what,
            count=len(rows),
            steps=len({row.ref for row in rows}),
            answered=len({row.ref for row in rows if row.outcome == "ok"}),
        )
        for what, rows in found.items()
    ]
    return sorted(failed, key=lambda each: -each.count)


def failed_steps_of(run: Run) -> list[FailedSteps]:
    """Return the steps without an answer, the commonest error first."""
    counts = Counter((row.step, row.outcome) for row in run.rows if row.outcome != "ok")
    return [FailedSteps(*what, count) for what, count in counts.most_common()]
