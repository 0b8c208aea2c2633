"""Excerpts: the sentences that stand for a text, taken from it as they are. Asks only the encoder.

Source: Radev et al. 2004, "Centroid-based summarization of multiple documents" (what is central);
Carbonell & Goldstein 1998, "The Use of MMR, Diversity-Based Reranking" (what is different).
"""

import re

import numpy as np

from ..encoder import Encoder

DEFAULT_COUNT = 3
RELEVANCE = 0.5
"""MMR's lambda: being central against being unlike what is chosen. At 0.7 repetitions stay in."""

# After a full stop a small letter or a figure goes on: "e.g. this", "no. 5".
_SENTENCE_END = re.compile(r"(?<=[!?…])\s+|(?<=\.)\s+(?=[^\s\da-z])|\n+")
_LIST_MARK = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")


def sentences(text: str) -> list[str]:
    """Return the different sentences of a text; a line break ends one too."""
    parts = (_LIST_MARK.sub("", part).strip() for part in _SENTENCE_END.split(text))
    return list(dict.fromkeys(part for part in parts if re.search(r"\w", part)))


def excerpts(text: str, count: int, encoder: Encoder) -> list[str]:
    """Return up to `count` sentences, most central and least alike, in the order of the text."""
    candidates = sentences(text)
    vectors = encoder.encode(candidates)
    if len(candidates) <= count:
        return candidates
    centroid = vectors.mean(axis=0)
    central = vectors @ (centroid / np.linalg.norm(centroid))
    alike = vectors @ vectors.T
    chosen: list[int] = []
    for _ in range(count):
        repeated = alike[:, chosen].max(axis=1) if chosen else np.zeros(len(candidates))
        gain = RELEVANCE * central - (1 - RELEVANCE) * repeated
        gain[chosen] = -np.inf
        chosen.append(int(gain.argmax()))
    return [candidates[number] for number in sorted(chosen)]
