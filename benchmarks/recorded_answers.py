"""Recorded answers: what real models said to real questions, from the data folder, aligned by item.

The schema of the folder: `answers/mmlu_pro/questions.jsonl.gz` and `MODEL.jsonl.gz` beside it, and
`routellm/NAME.jsonl.gz`. Prices are list prices at recording time; each MMLU-Pro call carried a
5-shot prompt of some 1,800 tokens, then question and options (characters / 4).
"""

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tierflow.routing.learned import Recorded, Recordings

Rows = NDArray[np.intp]

PRICES: Mapping[str, tuple[float, float]] = {
    "gemini-1.5-flash-002": (0.075, 0.30),
    "gemini-1.5-pro-002": (1.25, 5.00),
    "llama-3.1-8b-instruct": (0.05, 0.08),
    "llama-3.1-70b-instruct": (0.59, 0.79),
}
"""USD per million tokens in and out."""

_SHOTS_TOKENS = 1800
_CHARS_PER_TOKEN = 4


def mmlu_pro(data: Path, models: Sequence[str]) -> Recordings:
    """Read the models' answers to the MMLU-Pro questions that all of them were asked.

    Raises ValueError for a model without a price, FileNotFoundError for one without answers.
    """
    if unpriced := [model for model in models if model not in PRICES]:
        raise ValueError(f"No price is known of {', '.join(unpriced)}. Known: {', '.join(PRICES)}.")
    folder = data / "answers" / "mmlu_pro"
    answers = {
        model: {row["id"]: row for row in _read(folder / f"{model}.jsonl.gz")} for model in models
    }
    questions = [
        row
        for row in _read(folder / "questions.jsonl.gz")
        if all(row["id"] in known for known in answers.values())
    ]
    asks = ["\n".join((row["question"], *row["options"])) for row in questions]
    ids = [row["id"] for row in questions]
    return Recordings(
        asks,
        [row["category"] for row in questions],
        {
            model: _recorded(model, [known[each] for each in ids], asks)
            for model, known in answers.items()
        },
    )


def _recorded(model: str, rows: Sequence[Mapping[str, Any]], asks: Sequence[str]) -> Recorded:
    usd_in, usd_out = PRICES[model]
    asked = _SHOTS_TOKENS + np.array([len(ask) for ask in asks]) / _CHARS_PER_TOKEN
    replied = np.array([row["output_tokens"] for row in rows], np.float64)
    return Recorded(
        model,
        [row["text"] for row in rows],
        [row["pred"] or "" for row in rows],
        np.array([float(row["correct"]) for row in rows]),
        (asked * usd_in + replied * usd_out) / 1e6,
    )


def _read(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def split(count: int, shares: Sequence[float], seed: int) -> tuple[Rows, ...]:
    """Return a shuffled split of `count` items: the rows of each share, none twice.

    Shares are in (0, 1] and sum to 1 at most.
    """
    order = np.random.default_rng(seed).permutation(count)
    ends = np.cumsum([0, *(round(share * count) for share in shares)])
    return tuple(order[start:end] for start, end in pairwise(ends))
