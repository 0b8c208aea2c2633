"""Advancing: one look at a rollout in a store, with others who look and write as well."""

import pytest

from tierflow.errors import RolloutError
from tierflow.rollouts.acting import act
from tierflow.rollouts.advancing import advance, shown
from tierflow.rollouts.state import RolloutState
from tierflow.rollouts.verbs import abort, pause, promote, start

from .filed import FiledRollouts
from .observed import NOW, STEP_S, a_rollout, begun, pairs, seen

ROLLOUT = a_rollout()
NAME = ROLLOUT.name
LATER = NOW + STEP_S


class Raced(FiledRollouts):
    """A store in which others write just before we do."""

    def __init__(self) -> None:
        super().__init__()
        self.others: list[RolloutState] = []

    def put(self, state: RolloutState) -> bool:
        if self.others:
            assert FiledRollouts.put(self, self.others.pop(0))
        return FiledRollouts.put(self, state)


def filled(store: FiledRollouts, *, errors: tuple[float, float] = (0.02, 0.02)) -> RolloutState:
    state = begun(ROLLOUT)
    assert store.put(state)
    store.observe(NAME, seen(state, 12_000, errors=errors))
    return state


def test_what_is_proven_is_kept_as_the_next_revision() -> None:
    store = FiledRollouts()
    state = filled(store)
    found = advance(store, NAME, LATER)
    assert (found.before, found.after, found.lost) == (state, store.newest(NAME), 0)
    assert (found.judgement.kind, found.after.weight) == ("advance", 0.5)
    assert [each.revision for each in store.history(NAME)] == [1, 2]


def test_nothing_is_written_where_nothing_changes() -> None:
    store = FiledRollouts()
    state = filled(store)
    found = advance(store, NAME, NOW + 1)
    assert found.after is found.before
    assert found.judgement.kind == "hold"
    assert store.history(NAME) == [state]


def test_harm_takes_everything_back() -> None:
    store = FiledRollouts()
    filled(store, errors=(0.2, 0.02))
    found = advance(store, NAME, NOW + 1)
    assert (found.after.phase, found.after.weight) == ("degraded", 0.0)
    assert "error rate is harmed by +0.2" in found.after.reason


def test_of_two_controllers_at_once_one_advances() -> None:
    store = Raced()
    filled(store)
    other = advance(store.copied(), NAME, LATER).after
    store.others = [other]
    found = advance(store, NAME, LATER)
    assert found.lost == 1
    assert (found.after, found.before) == (other, other)
    assert len(store.history(NAME)) == 2


def test_the_loser_promotes_nothing_even_where_the_next_step_is_proven_too() -> None:
    rollout = a_rollout(min_units=0, min_step_s=0.0)
    store = Raced()
    state = begun(rollout)
    assert store.put(state)
    store.observe(NAME, seen(state, 12_000))
    store.others = [advance(store.copied(), NAME, NOW).after]
    found = advance(store, NAME, NOW)
    assert found.judgement.kind == "hold"
    assert "revision 2" in found.judgement.reason
    assert found.after.step == 1


def test_harm_still_stops_what_somebody_else_promoted_meanwhile() -> None:
    store = Raced()
    state = filled(store, errors=(0.2, 0.02))
    store.others = [promote(ROLLOUT, state, "me", NOW)]
    found = advance(store, NAME, NOW + 1)
    assert (found.lost, found.after.phase, found.after.revision) == (1, "degraded", 3)


def test_a_stale_verdict_never_undoes_an_abort() -> None:
    store = Raced()
    state = filled(store)
    ended = abort(ROLLOUT, state, "me", NOW, "no")
    assert ended is not None
    store.others = [ended]
    found = advance(store, NAME, LATER)
    assert (found.after, found.lost, found.judgement.kind) == (ended, 1, "hold")
    assert store.newest(NAME) == ended


@pytest.mark.parametrize("phase", ["degraded", "paused", "healthy"])
def test_late_scores_never_wake_what_rests(phase: str) -> None:
    store = FiledRollouts()
    state = begun(ROLLOUT)
    assert store.put(state)
    resting = state.model_copy(update={"phase": phase, "revision": 2})
    assert store.put(resting)
    calls = seen(state, 300)
    store.observe(NAME, calls)
    for each in calls:
        store.score(NAME, each.ref, "helpful", 1.0)
    assert advance(store, NAME, LATER).after == resting
    assert len(store.history(NAME)) == 2


def test_who_loses_again_and_again_says_so() -> None:
    store = Raced()
    state = filled(store, errors=(0.2, 0.02))
    again = [state.model_copy(update={"revision": number}) for number in (2, 3, 4)]
    store.others = again
    with pytest.raises(RolloutError, match="3 times"):
        advance(store, NAME, NOW + 1)


def test_what_nobody_started_is_named_with_what_was_started() -> None:
    store = FiledRollouts()
    filled(store)
    with pytest.raises(RolloutError, match=r"'other'\. Started: triage-v2"):
        advance(store, "other", NOW)


def test_a_shadow_moves_on_by_its_pairs() -> None:
    rollout = a_rollout(steps=("shadow", 10, 100))
    store = FiledRollouts()
    assert store.put(begun(rollout))
    for each in pairs(900, 0.0):
        store.pair(NAME, each)
    assert advance(store, NAME, LATER).after.weight == 0.1


def test_what_is_shown_of_a_paused_rollout_has_its_readings_and_its_own_reason() -> None:
    store = FiledRollouts()
    state = filled(store)
    assert store.put(pause(ROLLOUT, state, "me", NOW, "lunch"))
    _, judgement = shown(store, NAME, LATER)
    assert (judgement.kind, judgement.reason) == ("hold", "lunch")
    assert {each.verdict for each in judgement.readings} == {"successful"}


class TestActing:
    """Verbs of people, in a store."""

    def test_who_loses_a_race_reads_again(self) -> None:
        store = Raced()
        state = filled(store)
        store.others = [promote(ROLLOUT, state, "other", NOW)]
        after = act(store, NAME, lambda now: pause(ROLLOUT, now, "me", NOW, "lunch"))
        assert after is not None
        assert (after.revision, after.phase, after.weight) == (3, "paused", 0.5)

    def test_who_loses_twice_is_told(self) -> None:
        store = Raced()
        state = filled(store)
        store.others = [state.model_copy(update={"revision": number}) for number in (2, 3)]
        with pytest.raises(RolloutError, match="twice in a row"):
            act(store, NAME, lambda now: promote(ROLLOUT, now, "me", NOW))

    def test_a_decision_on_an_older_revision_is_refused(self) -> None:
        store = FiledRollouts()
        state = filled(store)
        assert store.put(promote(ROLLOUT, state, "other", NOW))
        with pytest.raises(RolloutError, match="was at revision 1, and is at 2"):
            act(store, NAME, lambda now: promote(ROLLOUT, now, "me", NOW), revision=1)

    def test_a_why_stands_behind_the_verbs_own_words(self) -> None:
        store = FiledRollouts()
        after = act(store, NAME, lambda now: start(ROLLOUT, now, "me", NOW), why="v2 is ready")
        assert after is not None
        assert after.reason == "Started: v2 is ready"

    def test_nothing_to_do_writes_nothing(self) -> None:
        store = FiledRollouts()
        assert act(store, NAME, lambda now: abort(ROLLOUT, now, "me", NOW, "no")) is None
        assert store.names() == []
