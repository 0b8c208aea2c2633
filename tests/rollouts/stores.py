"""Stores: states and observations to keep, and racing for a revision as a worker would."""

import threading
from collections.abc import Callable
from typing import Any

from tierflow.rollouts.observations import Arm, Observation, PairSeen
from tierflow.rollouts.state import RolloutState
from tierflow.rollouts.store import Rollouts

from .observed import NOW, a_rollout, begun

NAME = "triage-v2"
STARTED = begun(a_rollout())
PATIENCE_S = 300.0


def revision(number: int, name: str = NAME, by: str = "me") -> RolloutState:
    return STARTED.model_copy(update={"rollout": name, "revision": number, "by": by})


def call(ref: str, epoch: int = 1, *, at: float = NOW, **options: Any) -> Observation:
    arm: Arm = options.pop("arm", "baseline")
    return Observation(unit=f"unit of {ref}", arm=arm, epoch=epoch, ref=ref, at=at, **options)


def a_pair(ref: str, epoch: int = 1) -> PairSeen:
    baseline = call(f"{ref}-b", epoch, latency_ms=5.0)
    candidate = call(f"{ref}-c", epoch, arm="candidate", scores={"helpful": 0.25})
    return PairSeen(baseline, candidate, same=False)


def increment_many(
    open_store: Callable[[], Rollouts], together: threading.Barrier, who: str, last: int
) -> list[int]:
    """Write one revision after the other until there are enough. Return those that were its own."""
    store, own = open_store(), list[int]()
    together.wait(PATIENCE_S)
    while True:
        newest = store.newest(NAME)
        number = newest.revision if newest is not None else 0
        if number >= last:
            store.close()
            return own
        if store.put(revision(number + 1, by=who)):
            own.append(number + 1)


def increment_in_a_process(
    open_store: Callable[[], Rollouts], api_url: str, together: threading.Barrier, who: str
) -> list[int]:
    """Do the same as a worker of its own would, in a store that nobody has opened yet."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: api_url}):
        return increment_many(open_store, together, who, 60)
