"""Estimates: how good each model's answer is, given the ask and the replies at hand.

Ex-ante for models that were not run, post-hoc for those that were: one logistic model for each set
of models run and each model. A set is a number whose bit m says that model m was run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..learned import Recordings
from ..learned.features import describe
from .linear import Bent, Linear, Scaling, fit_bent, fit_logistic, fit_ridge, plain, sigmoid
from .words import Words, fit_words

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_RIDGE = 50.0
_BENT = 200.0
_LOGISTIC = 10.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said. `value`: what was read from `text`, "" where nothing was."""

    text: str
    value: str


@dataclass(frozen=True, slots=True)
class Readings:
    """n items as numbers. `ask`: (n, k). `replies`: by model (n, k). `agree`: by pair (n,).

    Each is what one text alone says of the quality of all k models. Models not run are left out.
    """

    ask: Floats
    replies: Mapping[int, Floats]
    agree: Mapping[tuple[int, int], Floats]


@dataclass(frozen=True, slots=True)
class Logistic:
    """Chances (n, k) from a set's design matrix. `weights`: (d + 1, k), bias last."""

    scaling: Scaling
    weights: Floats

    def __call__(self, design: Floats) -> Floats:
        """Return (n, k) for (n, d)."""
        return sigmoid(design @ self.weights[:-1] + self.weights[-1])


@dataclass(frozen=True, slots=True)
class Estimates:
    """Fitted estimators of k models. `right`: of each set run. `strata`: the kinds seen."""

    models: tuple[str, ...]
    strata: tuple[str, ...]
    words: Words
    ask: Linear
    replies: tuple[Bent, ...]
    right: Mapping[int, Logistic]

    def read(self, ask: str, stratum: str, replies: Mapping[str, Reply]) -> Readings:
        """Read one item. Raises ValueError for a reply of a model that was not learned from."""
        if unknown := set(replies) - set(self.models):
            raise ValueError(
                f"No estimate was learned for {', '.join(sorted(unknown))}. Known: "
                f"{', '.join(self.models)}. Fit again with its recordings."
            )
        words = self.words.scores(ask)
        kind = np.array([float(stratum == each) for each in self.strata])
        found = {at: replies[name] for at, name in enumerate(self.models) if name in replies}
        return Readings(
            self.ask(_row(words, kind, ask, "", ""))[None],
            {
                at: self.replies[at](_row(words, kind, ask, reply.text, reply.value))[None]
                for at, reply in found.items()
            },
            {
                (i, j): np.array([_agree(found[i].value, found[j].value)])
                for i, j in combinations(found, 2)
            },
        )

    def read_all(self, recordings: Recordings) -> Readings:
        """Read n items with the replies of all models."""
        words = np.array([self.words.scores(ask) for ask in recordings.asks])
        matrices = _matrices(recordings, self.models, self.strata, words)
        return Readings(
            self.ask(matrices[0]),
            {at: self.replies[at](matrix) for at, matrix in enumerate(matrices[1:])},
            _agreements(recordings, self.models),
        )

    def chances(self, run: int, readings: Readings) -> tuple[Floats, Floats]:
        """Return (n, k) chances of being right once `run` was run, and the design (n, d)."""
        logistic = self.right[run]
        matrix = design(run, readings, logistic.scaling)
        return logistic(matrix), matrix

    def to_json(self) -> dict[str, Any]:
        """Return plain lists and numbers."""
        return {
            "models": list(self.models),
            "strata": list(self.strata),
            "words": self.words.to_json(),
            "ask": self.ask.to_json(),
            "replies": [each.to_json() for each in self.replies],
            "right": {
                str(run): {
                    "center": plain(each.scaling.center),
                    "scale": plain(
                        np.where(np.isfinite(each.scaling.scale), each.scaling.scale, 0)
                    ),
                    "weights": plain(each.weights),
                }
                for run, each in self.right.items()
            },
        }

    @classmethod
    def from_json(cls, read: Mapping[str, Any]) -> "Estimates":
        """Read what `to_json` wrote."""
        return cls(
            tuple(read["models"]),
            tuple(read["strata"]),
            Words.from_json(read["words"]),
            Linear.from_json(read["ask"]),
            tuple(Bent.from_json(each) for each in read["replies"]),
            {int(run): _logistic(each) for run, each in read["right"].items()},
        )


def _logistic(read: Mapping[str, Any]) -> Logistic:
    scale = np.array(read["scale"], np.float64)
    scaling = Scaling(np.array(read["center"]), np.where(scale == 0, np.inf, scale))
    return Logistic(scaling, np.array(read["weights"]))


@dataclass(frozen=True, slots=True)
class Learned:
    """Estimates, and what they say of their own n training items when those are left out.

    `chances`: by set run, (n, k). `designs`: by set run, (n, d).
    """

    estimates: Estimates
    chances: Mapping[int, Floats]
    designs: Mapping[int, Floats]


def learn(recordings: Recordings) -> Learned:
    """Learn from n recorded items, which all models answered."""
    models = tuple(recordings.models)
    strata = tuple(sorted(set(recordings.strata)))
    quality = np.stack([recordings[model].quality for model in models], axis=1)
    words, scores = fit_words(recordings.asks, quality)
    matrices = _matrices(recordings, models, strata, scores)
    ask, first = fit_ridge(matrices[0], quality, _RIDGE)
    rest = [fit_bent(matrix, quality, _BENT) for matrix in matrices[1:]]
    readings = Readings(
        first,
        {at: unseen for at, (_, unseen) in enumerate(rest)},
        _agreements(recordings, models),
    )
    right, chances, designs = dict[int, Logistic](), dict[int, Floats](), dict[int, Floats]()
    for run in range(1 << len(models)):
        scaling = Scaling.of(_scores(run, readings))
        designs[run] = design(run, readings, scaling)
        fitted = [fit_logistic(designs[run], each, _LOGISTIC) for each in quality.T]
        right[run] = Logistic(scaling, np.stack([weights for weights, _ in fitted], axis=1))
        chances[run] = np.stack([unseen for _, unseen in fitted], axis=1)
    replies = tuple(bent for bent, _ in rest)
    return Learned(Estimates(models, strata, words, ask, replies, right), chances, designs)


def members(group: int, count: int) -> tuple[int, ...]:
    """Return the numbers of a set's models."""
    return tuple(each for each in range(count) if group >> each & 1)


def bits(count: int) -> NDArray[np.intp]:
    """Return (2**count, count): 1 where a set holds a model, else 0."""
    found: Any = np.right_shift.outer(np.arange(1 << count), np.arange(count))
    held: NDArray[np.intp] = found & 1
    return held


def design(run: int, readings: Readings, scaling: Scaling) -> Floats:
    """Return the design (n, d) of a set: scores, their squares, agreement, and both together."""
    scores = scaling(_scores(run, readings))
    count = readings.ask.shape[1]
    ran = members(run, count)
    parts = [scores, scores**2]
    if len(ran) > 1:
        # What the ask says of every model, and what each reply says of its own.
        own = [*range(count), *(count * (1 + at) + model for at, model in enumerate(ran))]
        agree = np.stack([readings.agree[pair] for pair in combinations(ran, 2)], axis=1)
        parts += [agree, (agree[:, :, None] * scores[:, None, own]).reshape(len(scores), -1)]
        first, second = np.triu_indices(agree.shape[1], 1)
        parts.append(agree[:, first] * agree[:, second])
    return np.hstack(parts)


def _scores(run: int, readings: Readings) -> Floats:
    ran = members(run, readings.ask.shape[1])
    return np.hstack((readings.ask, *(readings.replies[model] for model in ran)))


def _row(words: Floats, kind: Floats, ask: str, text: str, value: str) -> Floats:
    return np.concatenate((words, kind, list(describe(ask, text, value).values())))


def _matrices(
    recordings: Recordings, models: Sequence[str], strata: Sequence[str], words: Floats
) -> list[Floats]:
    """Return the numbers of the asks, then of each model's replies; each (n, d)."""
    kinds = np.array([[float(each == one) for one in strata] for each in recordings.strata])
    nothing = [""] * len(recordings)
    texts = [(nothing, nothing), *((recordings[m].texts, recordings[m].values) for m in models)]
    return [
        np.stack(
            [_row(*row) for row in zip(words, kinds, recordings.asks, replies, values, strict=True)]
        )
        for replies, values in texts
    ]


def _agreements(recordings: Recordings, models: Sequence[str]) -> Mapping[tuple[int, int], Floats]:
    values = [recordings[model].values for model in models]
    return {
        (i, j): np.array([_agree(*pair) for pair in zip(values[i], values[j], strict=True)])
        for i, j in combinations(range(len(models)), 2)
    }


def _agree(first: str, second: str) -> float:
    return float(bool(first) and first == second)
