"""Features: what of an ask and its cheap reply tells whether a stronger model would do better.

Reads texts, asks nobody, learns nothing. Counts and plain words only: on MMLU-Pro neither TF-IDF of
words nor of word pairs added anything to them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import log1p

import numpy as np
from numpy.typing import NDArray

from .choices import describe_choice
from .recordings import Recordings, Rows

Floats = NDArray[np.float64]

_WORD = re.compile(r"[a-z]{4,}")
# A model that doubts says so, corrects itself, or finds no option that fits.
_DOUBTS = (
    *("none of the", "closest", "however", "approximately", "≈", "not provided", "cannot", "can't"),
    *("error", "assum", "unclear", "mistake", "re-examine", "let's", "incorrect", "seems"),
    *("likely", "probably", "possible", "without", "difficult", "option", "insufficient"),
    *("not enough", "wait", "recalculate", "actually", "best answer", "therefore", "thus"),
)


@dataclass(frozen=True, slots=True)
class Described:
    """n items in numbers. `matrix`: (n, len(names)). `strata`: n names of kinds of items."""

    names: tuple[str, ...]
    matrix: Floats
    strata: Sequence[str]

    def at(self, rows: Rows) -> "Described":
        """Return some of the items."""
        return Described(self.names, self.matrix[rows], [self.strata[int(row)] for row in rows])


def describe_all(recordings: Recordings, model: str, helper: str | None = None) -> Described:
    """Describe a model's replies to all items, and whether a helper's answers agree with them."""
    replies = recordings[model]
    others = recordings[helper].values if helper else None
    rows = [
        describe(ask, text, value, None if others is None else others[at])
        for at, (ask, text, value) in enumerate(
            zip(recordings.asks, replies.texts, replies.values, strict=True)
        )
    ]
    names = tuple(rows[0]) if rows else ()
    matrix = np.array([list(row.values()) for row in rows], np.float64)
    return Described(names, matrix.reshape(len(rows), len(names)), recordings.strata)


def describe(ask: str, reply: str, value: str, other: str | None = None) -> dict[str, float]:
    """Describe one reply: the same names in the same order for all.

    `value`: what was read from the reply, "" for nothing; a single letter is taken for the choice
    among the last lines of the ask. `other`: what was read from a helper's reply, None without one.
    """
    said = reply.lower()
    found = {
        "reply_length": log1p(len(reply)),
        "reply_to_ask": len(reply) / max(len(ask), 1),
        "reply_new_words": _new_words(ask, said),
        "reply_lines": log1p(reply.count("\n")),
        "reply_sentences": log1p(reply.count(".")),
        "reply_digits": _digits(reply),
        "reply_equations": log1p(reply.count("=")),
        "reply_concludes": float("the answer is" in said),
        "value_missing": float(not value),
        "ask_length": log1p(len(ask)),
        "ask_digits": _digits(ask),
        **{f"says {doubt}": float(doubt in said) for doubt in _DOUBTS},
        **describe_choice(ask, reply, value),
    }
    if other is not None:
        found["helper_agrees"] = float(bool(value) and value == other)
        found["helper_missing"] = float(not other)
    return found


def _digits(text: str) -> float:
    return len(re.findall(r"\d", text)) / max(len(text), 1)


def _new_words(ask: str, said: str) -> float:
    words = set(_WORD.findall(said))
    return len(words.difference(_WORD.findall(ask.lower()))) / max(len(words), 1)
