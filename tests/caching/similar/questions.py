"""Questions: what tests put into a similar store."""

from collections.abc import Callable
from time import monotonic
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from tests.caching.answers import key_of
from tierflow.caching.similar.store import Asked, Change, Observation, SimilarStore
from tierflow.caching.store import Labels

WAIT_S = 30.0


def direction(seed: int, dims: int = 8) -> NDArray[np.float32]:
    """Return a unit vector, the same for the same seed."""
    vector = np.random.default_rng(seed).normal(size=dims).astype(np.float32)
    return vector / np.float32(np.linalg.norm(vector))


def question(
    ask: str,
    partition: str = "p",
    *,
    vector: NDArray[np.float32] | None = None,
    labels: Labels | None = None,
) -> Asked:
    """Return a question with that ask. Its vector is random unless given."""
    at = direction(crc32(ask.encode())) if vector is None else vector
    return Asked(
        partition, key_of(ask), ask, at, key_of(f"value of {ask}"), labels or Labels("triage")
    )


def observation(scope: str = "s", **fields: Any) -> Observation:
    """Return an observation of a scope with what a test does not care about filled in."""
    given: dict[str, Any] = {
        "partition": "p",
        "at": 1_800_000_000.25,
        "features": (0.1, -2.5, 1e-300),
        "score": 0.75,
        "weight": 20.0,
        "would_serve": True,
        "right": False,
        "source": "miss",
        "value": "v",
    }
    return Observation(scope=scope, **(given | fields))


def wait_for(happened: Callable[[], bool]) -> None:
    """Look again and again until it has happened."""
    until = monotonic() + WAIT_S
    while not happened():
        assert monotonic() < until


def tail(store: SimilarStore, partition: str, after: int = 0, limit: int = 10_000) -> list[Change]:
    """Read a partition's log to its end, `limit` lines at a time."""
    found: list[Change] = []
    while lines := store.changes(partition, after, limit):
        found += lines
        after = lines[-1].seq
    return found


def live(changes: list[Change]) -> dict[int, str]:
    """Fold a log into what is there: asks by id."""
    there: dict[int, str] = {}
    for change in changes:
        if change.asked is None:
            there.pop(change.id, None)
        else:
            there[change.id] = change.asked.ask
    return there
