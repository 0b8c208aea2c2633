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

from .recordings import Recordings, Rows

Floats = NDArray[np.float64]

_MOST_CHOICES = 10
_NEAR = 0.02
_CLOSING = re.compile(r"(the )?(final |correct |best )?answer is\b.*\Z", re.IGNORECASE | re.DOTALL)
_NUMBER = re.compile(r"-?\d[\d,]*\.?\d*(?:[eE][-+]?\d+)?")
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
        "reply_lines": log1p(reply.count("\n")),
        "reply_sentences": log1p(reply.count(".")),
        "reply_digits": _digits(reply),
        "reply_equations": log1p(reply.count("=")),
        "reply_concludes": float("the answer is" in said),
        "value_missing": float(not value),
        "ask_length": log1p(len(ask)),
        "ask_digits": _digits(ask),
        **{f"says {doubt}": float(doubt in said) for doubt in _DOUBTS},
        **_describe_choice(ask, reply, value),
    }
    if other is not None:
        found["helper_agrees"] = float(bool(value) and value == other)
        found["helper_missing"] = float(not other)
    return found


def _digits(text: str) -> float:
    return len(re.findall(r"\d", text)) / max(len(text), 1)


def _describe_choice(ask: str, reply: str, value: str) -> dict[str, float]:
    """Describe what was chosen of the lines that end the ask; zeros where it is no choice."""
    choices = [line.lower() for line in ask.split("\n")[1:][-_MOST_CHOICES:]]
    at = ord(value) - ord("A") if len(value) == 1 else -1
    known = 0 <= at < len(choices)
    chosen = choices.pop(at) if known else ""
    body = _CLOSING.sub("", reply).lower()
    said = set(_WORD.findall(body))
    share = _shared(chosen, said)
    rivals = max((_shared(choice, said) for choice in choices), default=0.0)
    named = chosen.strip(" .")
    return {
        "choices": float(len(choices) + known),
        "choices_in_numbers": sum(bool(_NUMBER.search(each)) for each in choices)
        / max(len(choices), 1),
        "choices_have_none_of": float(any("none of" in each for each in (*choices, chosen))),
        "choices_named": float(sum(each.strip(" .") in body for each in choices if each)),
        "choice_at": float(at),
        "choice_length": log1p(len(chosen)),
        "choice_longest": float(known and all(len(chosen) >= len(each) for each in choices)),
        "choice_is_none_of": float("none of" in chosen),
        "choice_named": float(bool(named) and named in body),
        "choice_shared": share,
        "choice_margin": share - rivals,
        **_describe_number(chosen, body),
    }


def _shared(text: str, said: set[str]) -> float:
    words = set(_WORD.findall(text))
    return len(words & said) / max(len(words), 1)


def _describe_number(chosen: str, body: str) -> dict[str, float]:
    """Describe how near the numbers of the reasoning come to the chosen one."""
    wanted = _numbers(chosen)[:1]
    reached = _numbers(body)
    if not wanted or not reached:
        return {"number_chosen": float(bool(wanted)), "number_off": 1.0, "number_reached": 0.0}
    scale = abs(wanted[0]) + 1e-9
    off = [abs(each - wanted[0]) / scale for each in reached]
    return {
        "number_chosen": 1.0,
        "number_off": min(1.0, *off[-3:]),
        "number_reached": float(min(off) < _NEAR),
    }


def _numbers(text: str) -> list[float]:
    return [float(each.replace(",", "")) for each in _NUMBER.findall(text)]
