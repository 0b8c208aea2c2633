"""Verbs: what people may do to a rollout, from where it stands."""

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.errors import RolloutError, StoreError
from tierflow.rollouts import Rollout, Variant
from tierflow.rollouts.state import RolloutState
from tierflow.rollouts.verbs import (
    abort,
    pause,
    promote,
    resume,
    retry,
    set_weight,
    start,
    undo,
)

from .observed import NOW, a_rollout, begun

ROLLOUT = a_rollout()
PENDING = RolloutState(rollout=ROLLOUT.name)


def test_starting_begins_with_the_first_step() -> None:
    state = begun(ROLLOUT)
    assert (state.phase, state.weight, state.step, state.by) == ("progressing", 0.1, 0, "me")
    with pytest.raises(RolloutError, match="progressing already"):
        start(ROLLOUT, state, "me", NOW)


def test_promoting_goes_one_step_and_fully_to_the_end() -> None:
    state = promote(ROLLOUT, begun(ROLLOUT), "me", NOW)
    assert (state.phase, state.weight, state.step) == ("progressing", 0.5, 1)
    state = promote(ROLLOUT, promote(ROLLOUT, state, "me", NOW), "me", NOW)
    assert (state.phase, state.weight) == ("healthy", 1.0)
    assert promote(ROLLOUT, begun(ROLLOUT), "me", NOW, full=True).phase == "healthy"


def test_a_pause_keeps_the_weight_and_resuming_begins_its_time_anew() -> None:
    paused = pause(ROLLOUT, begun(ROLLOUT), "me", NOW + 1, "lunch")
    assert (paused.phase, paused.weight, paused.reason) == ("paused", 0.1, "lunch")
    resumed = resume(ROLLOUT, paused, "me", NOW + 2)
    assert (resumed.phase, resumed.weight, resumed.since) == ("progressing", 0.1, NOW + 2)


def test_aborting_gives_everything_back_and_does_nothing_where_nothing_is_under_way() -> None:
    ended = abort(ROLLOUT, begun(ROLLOUT), "me", NOW, "no")
    assert ended is not None
    assert (ended.phase, ended.weight) == ("degraded", 0.0)
    for idle in (PENDING, ended):
        assert abort(ROLLOUT, idle, "me", NOW, "no") is None
    with pytest.raises(RolloutError, match=r"taken over.*`undo` takes"):
        abort(ROLLOUT, promote(ROLLOUT, begun(ROLLOUT), "me", NOW, full=True), "me", NOW, "no")


def test_retrying_forgets_what_was_seen() -> None:
    ended = abort(ROLLOUT, begun(ROLLOUT), "me", NOW, "no")
    assert ended is not None
    again = retry(ROLLOUT, ended.model_copy(update={"frozen": {"x": 1.0}}), "me", NOW + 5)
    assert (again.phase, again.weight, again.frozen) == ("progressing", 0.1, {})
    assert again.epoch > ended.epoch
    assert again.reason == "Retried"
    assert [each for each in again.weights.values() if each] == [0.1]


def test_undoing_takes_back_what_had_taken_over() -> None:
    healthy = promote(ROLLOUT, begun(ROLLOUT), "me", NOW, full=True)
    undone = undo(ROLLOUT, healthy, "me", NOW)
    assert (undone.phase, undone.weight) == ("degraded", 0.0)


def test_a_weight_set_by_hand_pauses_there() -> None:
    state = set_weight(ROLLOUT, begun(ROLLOUT), "me", NOW, 0.33)
    assert (state.phase, state.weight) == ("paused", 0.33)
    with pytest.raises(RolloutError, match="from 0 to 1"):
        set_weight(ROLLOUT, state, "me", NOW, 33)


Verb: TypeAlias = Callable[[Rollout, RolloutState, str, float], RolloutState | None]


def pause_for_lunch(rollout: Rollout, state: RolloutState, by: str, now: float) -> RolloutState:
    return pause(rollout, state, by, now, "lunch")


def set_a_half(rollout: Rollout, state: RolloutState, by: str, now: float) -> RolloutState:
    return set_weight(rollout, state, by, now, 0.5)


def abort_at_once(
    rollout: Rollout, state: RolloutState, by: str, now: float
) -> RolloutState | None:
    return abort(rollout, state, by, now, "no")


VERBS: list[Verb] = [promote, resume, retry, undo, pause_for_lunch, set_a_half]


@pytest.mark.parametrize("verb", VERBS)
def test_what_makes_no_sense_now_is_refused(verb: Verb) -> None:
    with pytest.raises(RolloutError, match=r"triage-v2 is not started.*`start` begins it"):
        verb(ROLLOUT, PENDING, "me", NOW)


@given(st.lists(st.sampled_from([start, *VERBS, abort_at_once]), max_size=12))
def test_revisions_and_epochs_only_grow(verbs: list[Verb]) -> None:
    state = PENDING
    for verb in verbs:
        try:
            after = verb(ROLLOUT, state, "me", NOW)
        except RolloutError:
            continue
        if after is not None:
            assert after.revision == state.revision + 1
            assert after.epoch >= state.epoch
            assert RolloutState.from_json(after.model_dump_json()) == after
            state = after


@pytest.mark.parametrize("text", ["", "{}", '{"rollout": "a", "version": 2}'])
def test_a_damaged_state_is_an_error_that_names_the_remedy(text: str) -> None:
    with pytest.raises(StoreError, match="Delete it where it is kept"):
        RolloutState.from_json(text)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"steps": ()}, "rising percentages"),
        ({"steps": (10, 5)}, "rising percentages"),
        ({"steps": (0.0, 5)}, "rising percentages"),
        ({"steps": (5, 101)}, "rising percentages"),
        ({"steps": (5, "shadow")}, "comes first"),
        ({"guardrails": ()}, "a guardrail"),
        ({"name": ""}, "needs a name"),
        ({"assign_by": "user"}, "Known: 'run'"),
        ({"confidence": 1.0}, "between 0 and 1"),
        ({"holdback": 0.0}, "between 0 and 1"),
    ],
)
def test_a_rollout_that_makes_no_sense_is_refused(options: dict[str, Any], wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted):
        a_rollout(**options)


def test_a_model_without_a_provider_is_refused() -> None:
    with pytest.raises(ValueError, match="openai/gpt"):
        Variant(model="gpt")


def test_the_steps_that_people_know_are_the_default() -> None:
    rollout = Rollout("r", Variant())
    assert [rollout.weight_of(at) for at in range(5)] == [0.05, 0.1, 0.25, 0.5, 0.95]
