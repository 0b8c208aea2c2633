"""Verbs: what people may do to a rollout. Each returns the next state; none asks for evidence."""

from collections.abc import Mapping
from typing import Any

from ..errors import RolloutError
from .rollout import Rollout
from .state import Phase, RolloutState
from .terms import Terms

_FITTING: Mapping[Phase, str] = {
    "pending": "`start` begins it, with FILE.py:STEP behind its name unless it is in tierflow.toml",
    "progressing": "`pause` holds it, `promote` goes on without proof, `abort` ends it",
    "paused": "`resume` goes on with its step, `promote` with the next one, `abort` ends it",
    "healthy": "`undo` takes its candidate back",
    "degraded": "`retry` begins anew by the same terms, `start` by those of now",
}
"""Which verbs fit where a rollout stands."""

_REACHED: Mapping[str, Phase] = {
    "pause": "paused",
    "resume": "progressing",
    "promote": "healthy",
    "abort": "degraded",
    "undo": "degraded",
}
"""Where a verb leads, and so has nothing to do."""


def is_reached(verb: str, state: RolloutState) -> bool:
    """Tell whether a verb's aim is reached already, so that there is nothing to change."""
    return _REACHED.get(verb) == state.phase


def fitting(state: RolloutState) -> str:
    """Say in one sentence which verbs fit where a rollout stands."""
    return f"{_FITTING[state.phase]}."


def start(rollout: Rollout, state: RolloutState, by: str, now: float) -> RolloutState:
    """Begin with the first step. Raises RolloutError for one that is under way."""
    if state.phase in ("progressing", "paused"):
        raise RolloutError(
            f"{rollout.name} is {state.word} already. {fitting(state)} To begin anew, abort it "
            "first."
        )
    return _begun(rollout, state, "Started", by, now)


def promote(
    rollout: Rollout, state: RolloutState, by: str, now: float, *, full: bool = False
) -> RolloutState:
    """Go to the next step without proof, or to the end with `full`."""
    _under_way(rollout, state)
    if full or state.step == len(rollout.steps) - 1:
        found = state.becoming("healthy", "Promoted by hand", by, now)
        return found.weighing(1.0, len(rollout.steps) - 1, now)
    step = state.step + 1
    found = state.becoming("progressing", "Promoted by hand", by, now)
    return found.weighing(rollout.weight_of(step), step, now)


def pause(rollout: Rollout, state: RolloutState, by: str, now: float, why: str) -> RolloutState:
    """Stay where it is: the weight remains, and no evidence moves it."""
    if state.phase != "progressing":
        raise _unfit(rollout, state, "there is nothing to pause")
    return state.becoming("paused", why, by, now)


def resume(rollout: Rollout, state: RolloutState, by: str, now: float) -> RolloutState:
    """Go on in the same step, whose time begins anew."""
    if state.phase != "paused":
        raise _unfit(rollout, state, "there is nothing to resume")
    found = state.becoming("progressing", "Resumed by hand", by, now)
    return found.weighing(state.weight, state.step, now)


def abort(
    rollout: Rollout, state: RolloutState, by: str, now: float, why: str
) -> RolloutState | None:
    """Give everything back to the baseline. Return None where it answers all already."""
    if state.phase in ("pending", "degraded"):
        return None
    if state.phase == "healthy":
        raise _unfit(rollout, state, "there is nothing under way to abort")
    return state.becoming("degraded", why, by, now).weighing(0.0, state.step, now)


def retry(rollout: Rollout, state: RolloutState, by: str, now: float) -> RolloutState:
    """Begin anew after a roll-back. What was seen before does not count."""
    if state.phase != "degraded":
        raise _unfit(rollout, state, "there is nothing to try again")
    return _begun(rollout, state, "Retried", by, now)


def undo(rollout: Rollout, state: RolloutState, by: str, now: float) -> RolloutState:
    """Take a candidate back that had taken over."""
    if state.phase != "healthy":
        raise _unfit(rollout, state, "there is nothing to undo")
    return state.becoming("degraded", "Undone by hand", by, now).weighing(0.0, state.step, now)


def set_weight(
    rollout: Rollout, state: RolloutState, by: str, now: float, weight: float
) -> RolloutState:
    """Give the candidate another share, 0-1, within its step; it pauses there."""
    _under_way(rollout, state)
    if not 0 <= weight <= 1:
        raise RolloutError(f"The weight {weight} is no share. Give a number from 0 to 1.")
    found = state.becoming("paused", f"Weight set to {100 * weight:.4g} % by hand", by, now)
    return found.weighing(weight, state.step, now)


def _under_way(rollout: Rollout, state: RolloutState) -> None:
    if state.phase not in ("progressing", "paused"):
        raise _unfit(rollout, state, "it has no step to go on from")


def _unfit(rollout: Rollout, state: RolloutState, said: str) -> RolloutError:
    return RolloutError(f"{rollout.name} is {state.word}, so {said}. {fitting(state)}")


def _begun(rollout: Rollout, state: RolloutState, reason: str, by: str, now: float) -> RolloutState:
    begun = state.becoming("progressing", reason, by, now)
    return _fresh(begun, rollout).weighing(rollout.weight_of(0), 0, now)


def _fresh(state: RolloutState, rollout: Rollout) -> RolloutState:
    """Return a state under a rollout's terms, without what was seen before; epochs count on."""
    anew: dict[str, Any] = {
        "terms": Terms.of(rollout),
        "begun": state.epoch + 1,
        "epochs": state.epochs[-1:],
        "frozen": {},
    }
    return state.model_copy(update=anew)
