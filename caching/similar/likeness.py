"""Similar store: what speaks for one of the near questions, as numbers. Decides nothing.

The strongest sign is consensus: do the nearest questions have the same answer? Vectors alone put
a question and its opposite side by side.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from .wording import FEATURES as _WORDING
from .wording import Wording, compare, conflict, wording

_read = lru_cache(maxsize=16_384)(wording)

NEIGHBOURS = 32
"""How many of the nearest questions are looked at."""

CONSENSUS = (
    "similarity",
    "similarity of the nearest",
    "margin over other answers",
    "consensus, near",
    "consensus, wide",
    "share of the five nearest",
    "questions with this answer",
    "record of this answer",
    "mean of its three nearest",
    "similarity of the farthest",
    "similarity to the answer's centre",
    "margin over other centres",
)
FEATURES = (*CONSENSUS, *_WORDING)
"""Names of the features, in order; the first `len(CONSENSUS)` are of the neighbourhood."""

_NEAR, _WIDE = 20.0, 8.0
"""How fast a neighbour's vote falls with its distance, per unit of cosine similarity."""


class Neighbour(NamedTuple):
    """A stored question near the new one. `value`: hash of its answer's value."""

    id: int
    similarity: float
    value: str
    ask: str


@dataclass(frozen=True, slots=True)
class Likeness:
    """The stored question that may answer the new one, and what speaks for it.

    `veto`: why its wording rules it out, None if it does not. `features`: see FEATURES.
    """

    neighbour: Neighbour
    features: tuple[float, ...]
    veto: str | None


def likeness(
    ask: str,
    near: Sequence[Neighbour],
    centred: Mapping[str, float],
    record: Mapping[str, tuple[int, int]],
) -> Likeness:
    """Return the best candidate among the neighbours, nearest first; there is at least one.

    `centred`: similarity to the centre of each answer's questions. `record`: how often each answer
    was right and wrong before. The candidate is the
    nearest of those with the answer that the neighbourhood agrees on whose wording does not
    conflict; a veto stands only where it conflicts with all of them.
    """
    asked, first = wording(ask), near[0].similarity
    votes: dict[str, float] = {}
    wide_votes: dict[str, float] = {}
    total = wide_total = 0.0
    for each in near:
        vote = math.exp(_NEAR * (each.similarity - first))
        wide = math.exp(_WIDE * (each.similarity - first))
        votes[each.value] = votes.get(each.value, 0.0) + vote
        wide_votes[each.value] = wide_votes.get(each.value, 0.0) + wide
        total, wide_total = total + vote, wide_total + wide
    value = max(votes, key=votes.__getitem__)
    mine = [each for each in near if each.value == value]
    other = next(
        (each.similarity for each in near if each.value != value), near[-1].similarity - 0.05
    )
    chosen, veto = _unopposed(asked, mine)
    right, wrong = record.get(value, (0, 0))
    centre = centred.get(value, mine[0].similarity)
    rival = max((centred[each] for each in centred if each != value), default=centre - 0.3)
    features = (
        mine[0].similarity,
        first,
        mine[0].similarity - other,
        _log_odds(votes[value] / total, 0.01),
        _log_odds(wide_votes[value] / wide_total, 0.02),
        sum(each.value == value for each in near[:5]) / min(5, len(near)),
        math.log1p(len(mine)),
        math.log((right + 1) / (wrong + 1)),
        sum(each.similarity for each in mine[:3]) / min(3, len(mine)),
        near[-1].similarity,
        centre,
        centre - rival,
        *compare(asked, _read(chosen.ask)),
    )
    return Likeness(chosen, features, veto)


def _unopposed(asked: Wording, mine: Sequence[Neighbour]) -> tuple[Neighbour, str | None]:
    veto = conflict(asked, _read(mine[0].ask))
    if veto is not None:
        for each in mine[1:]:
            if conflict(asked, _read(each.ask)) is None:
                return each, None
    return mine[0], veto


def _log_odds(share: float, softened: float) -> float:
    return math.log((share + softened) / (1 - share + softened))
