"""Scoring: which label fits a text best, and which sentences stand for it. Asks only the encoder.

MiniLM places texts by topic. It tells a refund from a delivery well; degrees (how urgent) and
negations ("do NOT cancel") it mostly does not see, and no wording of the labels changes that.
"""

import re
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..encoder import Encoder
from .fields import Choice, Label

Vectors: TypeAlias = NDArray[np.float32]
Shares: TypeAlias = NDArray[np.float64]
"""One probability for each label of a choice; they sum to 1."""

ZERO_SHOT_TEMPERATURE = 0.07
"""Of the softmax over cosines. MiniLM's lie close together: at 1.0 all labels would be equal."""

YES_FROM = 0.2
"""The cosine from which a text is about a statement. Unrelated texts have 0 to 0.2 in MiniLM."""

NEIGHBOURS = 12
NEIGHBOUR_TEMPERATURE = 0.1
"""An example that is 0.1 less similar has 1/e of the vote."""

_UNSEEN = 0.01
_CLAUSE_END = re.compile(r"[;,:.()]\s*")


def zero_shot(ask: str, choice: Choice, encoder: Encoder) -> Shares:
    """Return how well each label fits the ask, from the labels' own words.

    A label is the mean of its name, the clauses of its description, and both as a whole. Source:
    Chang et al. 2008, "Importance of Semantic Representation: Dataless Classification".
    """
    asked = encoder.encode([ask])[0]
    scores = [_fit(asked, label, choice, encoder) for label in choice.labels]
    return _softmax(np.array(scores), ZERO_SHOT_TEMPERATURE)


def few_shot(
    ask: str, choice: Choice, examples: Sequence[tuple[str, Any]], encoder: Encoder
) -> Shares:
    """Return the votes of the most similar examples, the nearer the heavier.

    `examples`: pairs of an ask and the value it got. What the guide says of a label counts as
    further examples of it. Source: Dudani 1976, "The Distance-Weighted k-Nearest-Neighbor Rule".
    """
    numbers = {label.value: number for number, label in enumerate(choice.labels)}
    known = [(text, numbers[value]) for text, value in examples]
    for number, label in enumerate(choice.labels):
        known.extend((f"{label.text}: {said}", number) for said in _sayings(label))
    texts, voters = zip(*known, strict=True)

    similar = encoder.encode(texts) @ encoder.encode([ask])[0]
    nearest = np.argsort(-similar, kind="stable")[:NEIGHBOURS]
    weights = _softmax(similar[nearest], NEIGHBOUR_TEMPERATURE)
    votes = np.bincount(np.array(voters)[nearest], weights, minlength=len(numbers))
    # What no neighbour has is unlikely, not impossible.
    shares: Shares = (1 - _UNSEEN) * votes.astype(np.float64) + _UNSEEN / len(numbers)
    return shares


def pick(shares: Shares, temperature: float, seed: int | None) -> int:
    """Return the number of the likeliest label, or of a drawn one if temperature is above 0."""
    if temperature <= 0:
        return int(shares.argmax())
    drawn = _softmax(np.log(np.maximum(shares, 1e-12)), temperature)
    return int(np.random.default_rng(seed).choice(len(shares), p=drawn))


def _fit(asked: Vectors, label: Label, choice: Choice, encoder: Encoder) -> float:
    # A statement has no opposite in MiniLM ("not X" is as near as X), so no is the default.
    if label.value is False and not label.described:
        return YES_FROM
    name = label.text
    if label.value is True:
        name = ": ".join(filter(None, (choice.name.replace("_", " "), choice.described)))
    vector = encoder.encode([name])[0]
    if label.described:
        whole, *clauses = _sayings(label)
        vector = vector + encoder.encode([f"{name}: {whole}"])[0]
        vector = vector + _unit(encoder.encode(clauses or [whole]).mean(axis=0))
    return float(asked @ _unit(vector))


def _sayings(label: Label) -> list[str]:
    """Return what is said of a label: the whole description first, then each clause."""
    clauses = [clause for clause in _CLAUSE_END.split(label.described) if clause.strip()]
    return [label.described, *clauses] if label.described else []


def _softmax(scores: NDArray[Any], temperature: float) -> Shares:
    raised: Shares = np.exp((scores - scores.max()).astype(np.float64) / temperature)
    shares: Shares = raised / raised.sum()
    return shares


def _unit(vector: Vectors) -> Vectors:
    length = float(np.linalg.norm(vector))
    return vector / np.float32(length) if length else vector
