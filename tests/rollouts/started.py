"""Started: rollouts that are under way in this process's store, for tests of whole steps."""

import time
from typing import Any

from tierflow import Rollout, Variant
from tierflow.rollouts.observations import Arm, Observed
from tierflow.rollouts.opening import open_rollouts
from tierflow.rollouts.state import RolloutState
from tierflow.rollouts.verbs import start
from tierflow.settings import settings
from tierflow.tasks import hands


def begun_at(weight: float, name: str, candidate: Variant | None = None, **options: Any) -> Rollout:
    """Have a rollout go on under a weight, as whoever looks at the store finds it."""
    rollout = Rollout(name, candidate or Variant(), **options)
    known: Any = hands().rollouts
    before = known._followed.known(name) or RolloutState(rollout=name)
    resting = before.model_copy(update={"phase": "pending"})
    now = time.time()
    assert known._followed.put(start(rollout, resting, "me", now).weighing(weight, 0, now))
    return rollout


def answered_by(arm: Arm, name: str, candidate: Variant | None = None, **options: Any) -> Rollout:
    """Have a rollout go on in which one arm has all units."""
    return begun_at(float(arm == "candidate"), name, candidate, **options)


def shown(name: str) -> Observed:
    """What the store has seen of a rollout."""
    store = open_rollouts(settings())
    try:
        return store.seen(name, 0)
    finally:
        store.close()
