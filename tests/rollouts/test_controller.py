"""Controller: what it does with a rollout, by what both arms showed so far."""

from dataclasses import replace

import pytest

from tierflow.rollouts import Rollout, cost_per_task, error_rate, p95_latency
from tierflow.rollouts.controller import Judgement, judge, moved
from tierflow.rollouts.observations import Observation, Observed
from tierflow.rollouts.state import RolloutState
from tierflow.rollouts.verbs import pause

from .observed import NOW, STEP_S, a_rollout, begun, evidence, pairs, seen


def judged(
    rollout: Rollout, state: RolloutState, shown: list[Observation], after_s: float = STEP_S
) -> Judgement:
    return judge(rollout, state, Observed(shown), state.since + after_s)


def test_equal_arms_go_on_to_the_next_step_once_that_is_proven() -> None:
    rollout = a_rollout()
    state = begun(rollout)
    shown = seen(state, 12_000)
    found = judged(rollout, state, shown)
    assert found.kind == "advance"
    assert {each.verdict for each in found.readings} == {"successful"}
    following = moved(rollout, state, found, NOW + STEP_S)
    assert following is not None
    assert (following.phase, following.step, following.weight) == ("progressing", 1, 0.5)
    assert (following.epoch, following.revision) == (state.epoch + 1, state.revision + 1)


def test_what_was_seen_in_earlier_steps_counts_in_later_ones() -> None:
    rollout = a_rollout()
    first = begun(rollout)
    shown = seen(first, 12_000)
    second = moved(rollout, first, judged(rollout, first, shown), NOW + STEP_S)
    assert second is not None
    found = judged(rollout, second, [*shown, *seen(second, 300, seed=1)])
    assert found.kind == "advance"


def test_nothing_moves_before_the_least_time_and_the_least_units() -> None:
    rollout = a_rollout()
    state = begun(rollout)
    shown = seen(state, 12_000)
    early = judged(rollout, state, shown, after_s=STEP_S - 1)
    assert (early.kind, moved(rollout, state, early, NOW)) == ("hold", None)
    assert "599 of 600 seconds" in early.reason
    few = judged(rollout, state, seen(state, 500))
    assert few.kind == "hold"
    assert "of 100 units" in few.reason


def test_harm_rolls_back_at_once() -> None:
    rollout = a_rollout()
    state = begun(rollout)
    found = judged(rollout, state, seen(state, 3000, errors=(0.2, 0.02)), after_s=1)
    assert found.kind == "roll back"
    assert found.reason.startswith("error rate is harmed by +0.1")
    ended = moved(rollout, state, found, NOW + 1)
    assert ended is not None
    assert (ended.phase, ended.weight) == ("degraded", 0.0)


def test_a_drop_in_quality_rolls_back_too() -> None:
    rollout = a_rollout()
    state = begun(rollout)
    found = judged(rollout, state, seen(state, 6000, scores=(0.7, 0.8)))
    assert found.kind == "roll back"
    assert "quality (helpful) is harmed by -0.1" in found.reason


def test_a_signal_pauses_where_a_guardrail_would_roll_back() -> None:
    rollout = a_rollout(guardrails=(error_rate(),), signals=(cost_per_task(1.2),))
    state = begun(rollout)
    dear = [
        each
        if each.arm == "baseline"
        else replace(each, cost_usd=0.02 + 0.0001 * (hash(each.ref) % 7))
        for each in seen(state, 4000)
    ]
    dear = [
        each
        if each.arm == "candidate"
        else replace(each, cost_usd=0.01 + 0.0001 * (len(each.ref) % 5))
        for each in dear
    ]
    found = judged(rollout, state, dear)
    assert found.kind == "pause"
    assert "cost per task is harmed" in found.reason
    paused = moved(rollout, state, found, NOW)
    assert paused is not None
    assert (paused.phase, paused.weight) == ("paused", state.weight)


def test_what_cannot_be_decided_in_time_pauses_and_says_so() -> None:
    rollout = a_rollout()
    state = begun(rollout)
    found = judged(rollout, state, seen(state, 500), after_s=10 * STEP_S)
    assert found.kind == "pause"
    assert found.reason.startswith("Undecided after 2 hours: ")


def test_nobody_is_promoted_by_silence() -> None:
    rollout = a_rollout(min_units=0)
    state = begun(rollout)
    assert judged(rollout, state, []).kind == "hold"
    assert judged(rollout, state, [], after_s=10 * STEP_S).kind == "pause"


def test_arms_of_the_wrong_size_pause() -> None:
    rollout = a_rollout()
    state = begun(rollout)
    lost = [each for each in seen(state, 6000) if each.arm == "baseline" or hash(each.ref) % 2]
    found = judged(rollout, state, lost)
    assert found.kind == "pause"
    assert "and not 10%" in found.reason


def test_the_last_step_ends_healthy_and_keeps_a_hold_back_until_then() -> None:
    rollout = a_rollout(steps=(100,))
    state = begun(rollout)
    assert state.weight == 0.95
    found = judged(rollout, state, seen(state, 12_000))
    assert found.kind == "finish"
    ended = moved(rollout, state, found, NOW)
    assert ended is not None
    assert (ended.phase, ended.weight) == ("healthy", 1.0)


@pytest.mark.parametrize("phase", ["pending", "paused", "healthy", "degraded"])
def test_only_what_is_progressing_is_moved(phase: str) -> None:
    rollout = a_rollout()
    state = begun(rollout).model_copy(update={"phase": phase})
    found = judged(rollout, state, seen(state, 3000, errors=(0.5, 0.02)))
    assert found.kind == "hold"


def test_a_unit_that_was_in_both_arms_counts_in_neither() -> None:
    rollout = a_rollout(guardrails=(error_rate(1.0),))
    state = begun(rollout)
    shown = seen(state, 2000)
    mixed = [
        replace(each, arm="candidate", failed=True) for each in shown if each.arm == "baseline"
    ]
    whole, both = judged(rollout, state, shown), judged(rollout, state, [*shown, *mixed])
    assert both.readings[0].candidate == whole.readings[0].candidate
    assert both.readings[0].baseline == 0


class TestFrozen:
    """What of the baseline is measured once."""

    def test_the_baselines_p95_is_held_fast(self) -> None:
        rollout = a_rollout(guardrails=(p95_latency(1.3),))
        state = begun(rollout)
        shown = seen(state, 3000)
        found = judged(rollout, state, shown)
        held = dict(found.frozen)["p95 latency"]
        kept = moved(rollout, state, found, NOW)
        assert kept is not None
        slower = [replace(each, latency_ms=3 * (each.latency_ms or 0)) for each in shown]
        assert dict(judged(rollout, kept, slower).frozen)["p95 latency"] == held

    def test_a_hold_keeps_what_was_measured(self) -> None:
        rollout = a_rollout(guardrails=(p95_latency(1.3),))
        state = begun(rollout)
        found = judged(rollout, state, seen(state, 400), after_s=1)
        kept = moved(rollout, state, found, NOW)
        assert found.kind == "hold"
        assert kept is not None
        assert (kept.phase, kept.epoch) == (state.phase, state.epoch)

    def test_a_slower_candidate_is_found(self) -> None:
        rollout = a_rollout(guardrails=(p95_latency(1.3),))
        state = begun(rollout)
        slower = [
            replace(each, latency_ms=1.8 * (each.latency_ms or 0))
            if each.arm == "candidate"
            else each
            for each in seen(state, 4000)
        ]
        found = judged(rollout, state, slower)
        assert found.kind == "roll back"
        assert "p95 latency" in found.reason

    def test_hits_say_nothing_of_latency_and_cost(self) -> None:
        rollout = a_rollout(guardrails=(p95_latency(1.3),), signals=(cost_per_task(),))
        state = begun(rollout)
        hits = [replace(each, hit=True) for each in seen(state, 3000)]
        assert {each.candidate for each in judged(rollout, state, hits).readings} == {0}


class TestShadow:
    """A step in which nobody is answered by the candidate."""

    def test_a_shadow_that_is_as_good_goes_on(self) -> None:
        rollout = a_rollout(steps=("shadow", 10, 100))
        state = begun(rollout)
        assert state.weight == 0.0
        found = judge(rollout, state, Observed((), pairs(900, 0.0)), NOW + STEP_S)
        assert found.kind == "advance"
        following = moved(rollout, state, found, NOW + STEP_S)
        assert following is not None
        assert following.weight == 0.1

    def test_one_that_is_worse_is_rolled_back_before_anybody_saw_it(self) -> None:
        rollout = a_rollout(steps=("shadow", 10, 100))
        state = begun(rollout)
        found = judge(rollout, state, Observed((), pairs(400, 0.08)), NOW + 1)
        assert found.kind == "roll back"

    def test_few_pairs_decide_nothing(self) -> None:
        rollout = a_rollout(steps=("shadow", 10, 100))
        state = begun(rollout)
        found = judge(rollout, state, Observed((), pairs(20, 0.0)), NOW + STEP_S)
        assert found.kind == "hold"
        assert "20 of 100 pairs" in found.reason


def test_a_paused_rollout_waits_whatever_is_seen() -> None:
    rollout = a_rollout()
    state = pause(rollout, begun(rollout), "me", NOW, "lunch")
    assert judge(rollout, state, evidence(*seen(state, 3000)), NOW + STEP_S).kind == "hold"
