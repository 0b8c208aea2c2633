"""Advancing: one look at a rollout, and the step that follows from it. Pure but for the store."""

from dataclasses import dataclass, replace

from ..errors import RolloutError
from .controller import Judgement, judge, moved
from .observations import Observed
from .state import RolloutState
from .store import Rollouts

_TRIES = 3


@dataclass(frozen=True, slots=True)
class Advanced:
    """What one look at a rollout led to. `before` is `after` where nothing was written.

    `lost`: how many times somebody else wrote first, and all was read and judged again.
    """

    before: RolloutState
    after: RolloutState
    judgement: Judgement
    lost: int = 0


def advance(store: Rollouts, name: str, now: float) -> Advanced:
    """Judge a rollout as it stands, and keep what that leads to. `now`: Unix seconds.

    What is written is the revision after the one that was judged, so a verdict on a stale state is
    refused. After that nobody is promoted in the same call: of two controllers at once, one
    advances. Harm still stops it. Raises RolloutError for a rollout that nobody started, or when
    others keep writing; StoreError.
    """
    for lost in range(_TRIES):
        state, judgement = look(store, name, now)
        if lost and judgement.kind in ("advance", "finish"):
            said = f"Somebody else wrote revision {state.revision} meanwhile: {state.reason}"
            return Advanced(
                state, state, Judgement("hold", said, judgement.readings, judgement.frozen), lost
            )
        after = moved(state.plan, state, judgement, now)
        if after is None:
            return Advanced(state, state, judgement, lost)
        if store.put(after):
            return Advanced(state, after, judgement, lost)
    raise RolloutError(
        f"{name} was changed by somebody else {_TRIES} times while it was judged. The next look "
        "goes on from there."
    )


def look(store: Rollouts, name: str, now: float) -> tuple[RolloutState, Judgement]:
    """Return how a rollout stands and what would be done with it. Writes nothing.

    Raises RolloutError for a rollout that nobody started, StoreError.
    """
    state = known(store, name)
    is_moving = state.phase == "progressing"
    evidence = store.seen(name, state.begun) if is_moving else Observed(())
    return state, judge(state.plan, state, evidence, now)


def shown(store: Rollouts, name: str, now: float) -> tuple[RolloutState, Judgement]:
    """Return how a rollout stands and what its arms show, also of one that is at rest.

    Raises as `look` does.
    """
    state = known(store, name)
    if state.phase == "pending":
        return state, Judgement("hold", state.reason)
    moving = state.model_copy(update={"phase": "progressing"})
    seen = judge(state.plan, moving, store.seen(name, state.begun), now)
    if state.phase == "progressing":
        return state, seen
    return state, replace(seen, kind="hold", reason=state.reason)


def known(store: Rollouts, name: str) -> RolloutState:
    """Return how a rollout stands. Raises RolloutError for one that nobody started; StoreError."""
    state = store.newest(name)
    if state is None:
        started = ", ".join(store.names()) or "none"
        raise RolloutError(
            f"Nobody has started a rollout {name!r}. Started: {started}. Run `tierflow rollout "
            f"start {name}`, with FILE.py:STEP behind it unless it is in tierflow.toml."
        )
    return state
