"""Similar store: what in the wording of two questions speaks against one answer for both.

Compares words, numbers, names and negations. Knows no vectors and no answers, and never says that
two questions mean the same: a veto is final, its absence is no evidence.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from itertools import pairwise

from .antonyms import denies, swaps, weak
from .reading import Wording, wording
from .vocabulary import PEOPLE, PERSONS

__all__ = ["FEATURES", "Wording", "compare", "conflict", "wording"]

_STOP_WEIGHT = 0.25
"""What a function word counts beside a content word."""

# From which likeness of the rest on a difference counts. Below it, the two say other things
# anyway, and the difference is as likely a matter of phrasing.
_ANTONYM, _WEAK_ANTONYM = 0.34, 0.75
_NEGATION, _FOREIGN_NEGATION = 0.5, 0.75
_AMOUNT, _ONE_AMOUNT = 0.35, 0.75
_MOVED_NEGATION = 0.9
_SAME_WORDS = 0.85


def _alike(a: Wording, b: Wording, pairs: Sequence[tuple[str, str]] = ()) -> float:
    """Share of the wording that is the same, in [0, 1]; pairs of opposites count as the same."""
    content = len(a.content & b.content)
    words = len(a.words & b.words)
    both = content + _STOP_WEIGHT * (words - content)
    content_all = len(a.content) + len(b.content) - content
    words_all = len(a.words) + len(b.words) - words
    whole = content_all + _STOP_WEIGHT * (words_all - content_all)
    for word, other in pairs:
        sides = (word in a.content) + (other in b.content)
        weight = (sides + _STOP_WEIGHT * (2 - sides)) / 2
        both += weight
        whole -= weight
    return min(both / whole, 1.0) if whole > 0 else 1.0


def _turned_around(a: Wording, b: Wording) -> bool:
    """Tell whether the same words stand in other places: "A to B" and "B to A"."""
    if a.stems == b.stems:
        return False
    # Pronouns in one form ("I owe you", "you owe me"), and numbers with their units.
    ours = (a.words - PERSONS.keys()).union(a.stems)
    theirs = (b.words - PERSONS.keys()).union(b.stems)
    if len(ours & theirs) < _SAME_WORDS * len(ours | theirs):
        return False
    beside = {*pairwise(a.stems), *((right, left) for left, right in pairwise(b.stems))}
    for direction, goal in a.goals - b.goals:
        if goal not in theirs:
            continue
        for other, aim in b.goals - a.goals:
            # "to quickly go" and "to go quickly" only move a word past its neighbour.
            if other == direction and aim in ours and (goal, aim) not in beside:
                return True
    around = set(zip(a.stems, a.stems[1:], a.stems[2:], strict=False))
    return any(
        left != right and (right, middle, left) in around
        for left, middle, right in zip(b.stems, b.stems[1:], b.stems[2:], strict=False)
    )


def _swapped(a: Wording, b: Wording) -> list[tuple[str, str]]:
    """Pair words of one with their opposites in the other."""
    ours, theirs = a.words - b.words, b.words - a.words
    pairs = swaps(ours, theirs)
    if not pairs:
        # Where one word takes the place of another and one looks like a denial, it mostly is one.
        mine, other = a.content - b.content, b.content - a.content
        if len(mine) == len(other) == 1:
            (word,), (instead,) = mine, other
            if denies(word) != denies(instead):
                return [(word, instead)]
    return pairs


def conflict(a: Wording, b: Wording) -> str | None:
    """Say what forbids one answer for both, or None if nothing in the wording does.

    "antonym", "negation", "order" or "numbers" (also units, times and dates). None is no
    evidence that the two mean the same. Symmetric; a wording never conflicts with itself.
    """
    pairs = _swapped(a, b)
    alike = _alike(a, b, pairs)
    ours = len(a.negated) + sum(each in b.words for each in a.framed)
    theirs = len(b.negated) + sum(each in a.words for each in b.framed)
    for word, other in pairs:
        if (word in a.scoped) == (other in b.scoped):
            is_weak = word in weak() or other in weak()
            if alike >= (_WEAK_ANTONYM if is_weak else _ANTONYM):
                return "antonym"
        # "not easy" and "difficult" agree: this negation is accounted for.
        elif word in a.scoped:
            ours -= word not in a.framed
        else:
            theirs -= other not in b.framed
    if ours != theirs:
        heads = set(a.negated) ^ set(b.negated)
        met = not heads or not heads.isdisjoint(a.words & b.words) or "" in heads
        if alike >= (_NEGATION if met else _FOREIGN_NEGATION):
            return "negation"
    elif ours and alike >= _MOVED_NEGATION and _moved_negation(a, b):
        return "order"
    if _turned_around(a, b):
        return "order"
    return "numbers" if _other_amounts(a, b, alike) else None


def _moved_negation(a: Wording, b: Wording) -> bool:
    """Tell whether each denies what the other says: "A, not B" and "B, not A"."""
    ours, theirs = set(a.negated), set(b.negated)
    return ours != theirs and ours.issubset(b.stems) and theirs.issubset(a.stems)


def _other_amounts(a: Wording, b: Wording, alike: float) -> bool:
    """Tell whether numbers, units, or times and dates differ where the rest is much the same."""
    return any(
        ours != theirs and alike >= (_AMOUNT if ours and theirs else _ONE_AMOUNT)
        for ours, theirs in ((a.numbers, b.numbers), (a.units, b.units), (a.dates, b.dates))
    )


FEATURES = (
    "words shared",
    "content shared",
    "shorter's content shared",
    "letters of content shared",
    "content missing on both sides",
    "pairs of neighbours shared",
    "order kept",
    "numbers differ",
    "numbers on one side",
    "units differ",
    "dates differ",
    "dates on one side",
    "names differ",
    "question words differ",
    "persons differ",
    "negations differ",
    "negated words differ",
    "opposites",
    "length",
)
"""What `compare` returns, in order."""


def _share(a: AbstractSet[object], b: AbstractSet[object]) -> float:
    both = len(a & b)
    whole = len(a) + len(b) - both
    return both / whole if whole else 1.0


def _apart(a: AbstractSet[object], b: AbstractSet[object]) -> float:
    return 0.0 if a == b else 1.0 - _share(a, b)


def compare(a: Wording, b: Wording) -> tuple[float, ...]:
    """Describe how two wordings differ: one number per name in FEATURES, each within [-1, 1].

    Symmetric. Two equal wordings give the same numbers whatever they are: 1 where something is
    shared or kept, 0 where something differs.
    """
    both = a.content & b.content
    less, more = sorted((len(a.content), len(b.content)))
    letters = sum(map(len, both))
    all_letters = sum(map(len, a.content | b.content))
    pairs = _swapped(a, b)
    lengths = sorted((len(a.stems), len(b.stems)))
    negated, others = set(a.negated), set(b.negated)
    return (
        _share(a.words, b.words),
        _share(a.content, b.content),
        len(both) / less if less else float(not more),
        letters / all_letters if all_letters else 1.0,
        (less - len(both)) / (1 + less),
        _share(set(pairwise(a.stems)), set(pairwise(b.stems))),
        _kept(a.stems, b.stems),
        _apart(a.numbers, b.numbers),
        float(bool(a.numbers) != bool(b.numbers)),
        _apart(a.units, b.units),
        _apart(a.dates, b.dates),
        float(bool(a.dates) != bool(b.dates)),
        _astray(a, b),
        _apart(a.asks, b.asks),
        _apart(PEOPLE & a.words, PEOPLE & b.words),
        math.tanh(abs(len(a.negated) - len(b.negated))),
        _apart(negated, others),
        math.tanh(len(pairs)),
        math.tanh(math.log((1 + lengths[0]) / (1 + lengths[1]))),
    )


def _astray(a: Wording, b: Wording) -> float:
    """Share of the names of both that the other does not have at all."""
    names = len(a.names) + len(b.names)
    if not names:
        return 0.0
    return (len(a.names - b.names - b.words) + len(b.names - a.names - a.words)) / names


def _kept(a: tuple[str, ...], b: tuple[str, ...]) -> float:
    """Share of the shared words that stand in the same order: a longest rising run of places."""
    if a == b:
        return 1.0
    places = {stem: place for place, stem in enumerate(dict.fromkeys(b))}
    run: list[int] = []
    shared = 0
    for stem in dict.fromkeys(a):
        place = places.get(stem)
        if place is None:
            continue
        shared += 1
        at = bisect_left(run, place)
        run[at : at + 1] = [place]
    return len(run) / shared if shared else 1.0
