"""SQL rows: questions and observations as columns, each with a checksum. Reads no database.

A file may be damaged where SQLite does not see it: what a row says is believed only if it is what
was written.
"""

import json
import math
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final

import numpy as np

from ...sealing import Seal
from ..codec import UnreadableError, may_be_open, unsealed
from ..keys import Key
from ..store import Labels
from .store import Asked, Observation

HALF: Final = np.dtype("<f2")
"""How vectors are kept, and how they are summed up where a server keeps them otherwise."""

QUESTION: Final = (
    "partition",
    "key",
    "value",
    "step",
    "tenant",
    "prefix",
    "tags",
    "ask",
    "digest",
)
"""Columns of a question as `Rows.question` takes them; its vector comes after them."""

OBSERVATION: Final = (
    "scope",
    "partition",
    "at",
    "features",
    "score",
    "weight",
    "would_serve",
    "right",
    "source",
    "value",
    "digest",
)
"""Columns of an observation as `read_observation` takes them."""

_FEATURES = np.dtype("<f8")
_FITS_NOT = "its checksum does not fit"
_OPEN, _SEALED = b"o", b"s"
_UNIT_WITHIN = 1e-2
_dumps = json.JSONEncoder(separators=(",", ":")).encode


class Rows:
    """Writes and reads rows of questions. `seal`: encrypts the asks only."""

    def __init__(self, seal: Seal | None) -> None:
        self._seal = seal

    def row(self, asked: Asked) -> dict[str, Any]:
        """Return a question as columns, all but its id and number. `vector`: (d,) float16."""
        labels, ask, vector = asked.labels, self._sealed(asked), asked.vector.astype(HALF)
        words = (asked.partition, asked.key, asked.value)
        return {
            "partition": asked.partition,
            "key": asked.key,
            "value": asked.value,
            "step": labels.step,
            "tenant": labels.tenant,
            "prefix": labels.prefix,
            "tags": json.dumps(labels.tags),
            "dims": len(vector),
            "ask": ask,
            "vector": vector,
            "digest": _question_sum(words, labels, ask, vector.tobytes()),
        }

    def question(self, row: Sequence[Any], vector: bytes) -> Asked:
        """Return the question that a row of the columns QUESTION holds. `vector`: in HALF.

        Raises UnreadableError where it is damaged, or sealed with another key.
        """
        try:
            *words, tags, ask, digest = row
            partition, key, value, step, tenant, prefix = map(_text, words)
            known = json.loads(_text(tags)) if tags not in (b"[]", "[]") else ()
            labels, ask = Labels(step, tenant, prefix, tuple(known)), bytes(ask)
            digests = _question_sum((partition, key, value), labels, ask, vector), bytes(digest)
        except (ValueError, TypeError, RecursionError):
            raise _damaged() from None
        if digests[0] != digests[1]:
            raise _damaged()
        at = np.frombuffer(vector, HALF).astype(np.float32)
        if not abs(math.sqrt(np.dot(at, at)) - 1) <= _UNIT_WITHIN:
            raise UnreadableError("its vector is not of length 1", damaged=True)
        return Asked(partition, Key(key), self._opened(key, ask), at, value, labels)

    def _sealed(self, asked: Asked) -> bytes:
        if self._seal is None:
            return _OPEN + asked.ask.encode()
        # With its key inside, it is of no use in another row.
        return _SEALED + self._seal.seal(f"{asked.key} {asked.ask}").encode()

    def _opened(self, key: str, kept: bytes) -> str:
        mark, text = kept[:1], kept[1:].decode()
        if may_be_open(self._seal, is_open=mark == _OPEN):
            return text
        return unsealed(self._seal, key, text)


def observation_row(observation: Observation) -> dict[str, Any]:
    """Return an observation as columns, all but its number."""
    return {
        "scope": observation.scope,
        "partition": observation.partition,
        "at": observation.at,
        "features": np.asarray(observation.features, _FEATURES).tobytes(),
        "score": observation.score,
        "weight": observation.weight,
        "would_serve": observation.would_serve,
        "right": observation.right,
        "source": observation.source,
        "value": observation.value,
        "digest": _observation_sum(observation),
    }


def read_observation(row: Sequence[Any]) -> Observation:
    """Return the observation that a row of the columns OBSERVATION holds.

    Raises UnreadableError where it is damaged, or where a number is not finite.
    """
    scope, partition, at, features, score, weight, would_serve, right, source, value, digest = row
    try:
        seen = Observation(
            scope=_text(scope),
            partition=_text(partition),
            at=float(at),
            features=tuple(np.frombuffer(features, _FEATURES).tolist()),
            score=float(score),
            weight=float(weight),
            would_serve=bool(would_serve),
            right=bool(right),
            source=_text(source),
            value=_text(value),
        )
        digests = _observation_sum(seen), bytes(digest)
    except (ValueError, TypeError):
        raise _damaged() from None
    if digests[0] != digests[1]:
        raise _damaged()
    if not all(map(math.isfinite, (seen.at, seen.score, seen.weight, *seen.features))):
        raise UnreadableError("it has a number that is not finite", damaged=True)
    return seen


def _text(kept: bytes | str) -> str:
    # There may be nothing in a damaged row, which is a TypeError.
    return kept if isinstance(kept, str) else bytes(kept).decode()


def _damaged() -> UnreadableError:
    return UnreadableError(_FITS_NOT, damaged=True)


def _question_sum(words: tuple[str, str, str], labels: Labels, ask: bytes, vector: bytes) -> bytes:
    where = (words, labels.step, labels.tenant, labels.prefix, labels.tags)
    total = blake2b(_dumps((where, len(ask), len(vector))).encode(), digest_size=8)
    total.update(ask)
    total.update(vector)
    return total.digest()


def _observation_sum(seen: Observation) -> bytes:
    # SQLite keeps -0.0 as 0.0.
    numbers = [float(n) + 0.0 for n in (seen.at, seen.score, seen.weight)]
    words = (seen.scope, seen.partition, seen.source, seen.value)
    truths = (bool(seen.would_serve), bool(seen.right))
    total = blake2b(_dumps((words, truths, numbers)).encode(), digest_size=8)
    total.update(np.asarray(seen.features, _FEATURES).tobytes())
    return total.digest()
