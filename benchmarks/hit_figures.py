"""Hit figures: what became of each question of a run, and the shares that are reported of it."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Outcomes: TypeAlias = NDArray[np.int8]
"""Of each arrival, (n,): one of the following."""

GIVEN, ASKED, RIGHT, WRONG = range(4)
"""Came with its answer; was asked; was served a right answer; was served a wrong one."""

_PLACES = 5


def figures(outcomes: Outcomes, pair_same: NDArray[np.bool_] | None) -> dict[str, float]:
    """Return the shares of pairs, or of a stream if `pair_same` is None."""
    if pair_same is None:
        return stream_figures(outcomes)
    return pair_figures(outcomes, pair_same)


def stream_figures(outcomes: Outcomes) -> dict[str, float]:
    """Return the shares of a stream. Without any hit, none is wrong: `wrong_per_hit` is 0.

    `asks_saved`: the share of questions that did not have to be asked, whether or not the answer
    was right; warm-up and checks are asked.
    """
    hits = outcomes >= RIGHT
    count, served, wrong = len(outcomes), int(hits.sum()), int((outcomes == WRONG).sum())
    second = hits[count // 2 :]
    shares = {
        "hit_rate": served / max(count, 1),
        "second_half_hit_rate": float(second.mean()) if len(second) else 0.0,
        "wrong_per_hit": wrong / max(served, 1),
        "wrong_per_request": wrong / max(count, 1),
        "asks_saved": 1 - float((outcomes == ASKED).sum()) / max(count, 1),
    }
    return {name: round(share, _PLACES) for name, share in shares.items()}


def pair_figures(outcomes: Outcomes, same: NDArray[np.bool_]) -> dict[str, float]:
    """Return the shares of pairs. `same`: of each arrival, whether its pair has one answer.

    `recall`: rightly served among pairs that are the same. `wrong_rate`: wrongly served among
    pairs that differ, from whichever stored question. `wrong_per_hit` counts all pairs.
    """
    asked = outcomes != GIVEN
    alike = max(int((asked & same).sum()), 1)
    differ = max(int((asked & ~same).sum()), 1)
    served, wrong = int((outcomes >= RIGHT).sum()), int((outcomes == WRONG).sum())
    shares = {
        "recall": int(((outcomes == RIGHT) & same).sum()) / alike,
        "wrong_rate": int(((outcomes == WRONG) & ~same).sum()) / differ,
        "hit_rate": served / max(int(asked.sum()), 1),
        "wrong_per_hit": wrong / max(served, 1),
    }
    return {name: round(share, _PLACES) for name, share in shares.items()}
