"""Acting: what people tell a rollout to do, carried out in a store."""

from collections.abc import Callable
from typing import TypeAlias

from ..errors import RolloutError
from .state import RolloutState
from .store import Rollouts

Change: TypeAlias = Callable[[RolloutState], RolloutState | None]
"""A verb, with all but the state given; None where it has nothing to do."""

_TRIES = 2


def act(
    store: Rollouts, name: str, change: Change, *, why: str = "", revision: int | None = None
) -> RolloutState | None:
    """Change a rollout from where it stands; return the new state, None where nothing is to do.

    `why`: what others should know, put behind the verb's own words. `revision`: the one that was
    looked at when this was decided, where it is for that one only. Who loses a race reads again and
    tries once more. Raises RolloutError where the verb makes no sense, the revision is another, or
    the second try loses as well; StoreError.
    """
    for _ in range(_TRIES):
        state = store.newest(name) or RolloutState(rollout=name)
        if revision is not None and state.revision != revision:
            raise RolloutError(
                f"{name} has moved on since: it was at revision {revision}, and is at "
                f"{state.revision} ({state.word}: {state.reason}). Look again, and decide anew."
            )
        after = change(state)
        if after is None:
            return None
        if why and why != after.reason:
            after = after.model_copy(update={"reason": f"{after.reason}: {why}"})
        if store.put(after):
            return after
    raise RolloutError(
        f"{name} was changed by somebody else, twice in a row. See `tierflow rollout get {name}`, "
        "and try again."
    )
