"""Horizon: A/B tests of so many units, which end in a pause for a person."""

from typing import Any

import pytest

from tierflow.rollouts import Rollout, quality
from tierflow.rollouts.advancing import advance
from tierflow.rollouts.controller import Judgement, judge, moved
from tierflow.rollouts.observations import Observed
from tierflow.rollouts.state import RolloutState
from tierflow.rollouts.terms import Terms
from tierflow.rollouts.verbs import promote, resume

from .filed import FiledRollouts
from .observed import NOW, STEP_S, a_rollout, begun, pairs, seen


def a_test(**options: Any) -> Rollout:
    given: dict[str, Any] = {
        "steps": (50,),
        "horizon_units": 2000,
        "guardrails": (quality("helpful", allowed=0.02),),
        **options,
    }
    return a_rollout(**given)


def judged(
    rollout: Rollout, state: RolloutState, units: int, after_s: float = STEP_S, **shown: Any
) -> Judgement:
    return judge(rollout, state, Observed(seen(state, units, **shown)), state.since + after_s)


def test_it_ends_in_a_pause_and_never_in_a_promotion() -> None:
    rollout = a_test()
    state = begun(rollout)
    found = judged(rollout, state, 2000)
    assert found.kind == "pause"
    assert found.reason.startswith("Horizon reached: 2,000 of 2,000 units. quality (helpful) ")
    paused = moved(rollout, state, found, NOW)
    assert paused is not None
    assert (paused.phase, paused.weight) == ("paused", 0.5)


def test_before_that_it_waits_however_well_the_candidate_does() -> None:
    rollout = a_test()
    found = judged(rollout, begun(rollout), 1500, scores=(0.95, 0.7))
    assert (found.kind, found.reason) == ("hold", "Not decided yet: 1,500 of 2,000 units were seen")


def test_effect_sizes_have_always_valid_intervals_all_the_while() -> None:
    rollout = a_test()
    (reading,) = judged(rollout, begun(rollout), 1500, scores=(0.84, 0.8)).readings
    assert reading.difference is not None
    assert reading.difference.low < 0.04 < reading.difference.high
    assert reading.difference.low > 0


def test_harm_still_takes_it_back_at_once() -> None:
    rollout = a_test()
    assert judged(rollout, begun(rollout), 1000, after_s=1, scores=(0.6, 0.8)).kind == "roll back"


def test_what_does_not_reach_its_horizon_pauses_and_says_so() -> None:
    rollout = a_test()
    found = judged(rollout, begun(rollout), 300, after_s=10 * STEP_S)
    assert (found.kind, found.reason) == (
        "pause",
        "Undecided after 2 hours: 300 of 2,000 units were seen",
    )


def test_it_also_lasts_its_least_time() -> None:
    rollout = a_test()
    assert judged(rollout, begun(rollout), 2000, after_s=1).kind == "hold"


def test_a_person_may_promote_it() -> None:
    rollout = a_test()
    state = begun(rollout)
    paused = moved(rollout, state, judged(rollout, state, 2000), NOW)
    assert paused is not None
    assert promote(rollout, paused, "me", NOW).phase == "healthy"


def test_a_shadow_may_come_first() -> None:
    rollout = a_test(steps=("shadow", 50))
    state = begun(rollout)
    found = judge(rollout, state, Observed((), pairs(900, 0.0)), NOW + STEP_S)
    assert found.kind == "advance"


class TestLooks:
    """Planned looks on the way."""

    def test_a_look_is_held_fast_and_taken_once(self) -> None:
        rollout = a_test(looks=5)
        state = begun(rollout)
        held = moved(rollout, state, judged(rollout, state, 450), NOW)
        assert held is not None
        assert (held.phase, held.frozen) == ("progressing", {"look 1": 0.225})
        again = judged(rollout, held, 700)
        assert dict(again.frozen) == {"look 1": 0.225}
        assert moved(rollout, held, again, NOW) is None

    def test_a_difference_beyond_the_bound_ends_it_early(self) -> None:
        rollout = a_test(looks=5)
        state = begun(rollout)
        found = judged(rollout, state, 850, scores=(0.85, 0.8))
        assert found.kind == "pause"
        assert "Different before the horizon, at 850 of 2,000 units: quality (helpful) (look 2" in (
            found.reason
        )

    def test_who_resumes_goes_on_to_the_next_look(self) -> None:
        rollout = a_test(looks=5)
        state = begun(rollout)
        found = judged(rollout, state, 850, scores=(0.85, 0.8))
        paused = moved(rollout, state, found, NOW)
        assert paused is not None
        again = resume(rollout, paused, "me", NOW)
        seen_before = seen(state, 900, scores=(0.85, 0.8))
        assert judge(rollout, again, Observed(seen_before), NOW + STEP_S).kind == "hold"

    @pytest.mark.parametrize(
        ("scores", "wanted"),
        [
            ((0.8, 0.8), "no difference is proven"),
            ((0.816, 0.8), "different are quality (helpful)"),
        ],
    )
    def test_at_the_end_it_says_what_differs(
        self, scores: tuple[float, float], wanted: str
    ) -> None:
        rollout = a_test(looks=2, guardrails=(quality("helpful"),))
        state = begun(rollout).model_copy(update={"frozen": {"look 1": 0.5}})
        found = judged(rollout, state, 2000, scores=scores)
        assert found.reason.startswith(f"Horizon reached: 2,000 of 2,000 units: {wanted} (look 2")

    def test_looks_in_a_store_are_revisions(self) -> None:
        rollout = a_test(looks=5)
        store, state = FiledRollouts(), begun(rollout)
        assert store.put(state)
        store.observe(rollout.name, seen(state, 450))
        assert advance(store, rollout.name, NOW + 1).after.frozen == {"look 1": 0.225}
        assert len(store.history(rollout.name)) == 2
        advance(store, rollout.name, NOW + 2)
        assert len(store.history(rollout.name)) == 2


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"steps": (10, 50)}, "one percentage, such as"),
        ({"horizon_units": 0}, "horizon_units is 0"),
        ({"horizon_units": None, "looks": 3}, "parts of a horizon_units"),
        ({"looks": -1}, "looks is -1"),
    ],
)
def test_a_test_that_makes_no_sense_is_refused(options: dict[str, Any], wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted):
        a_test(**options)


def test_its_terms_are_kept() -> None:
    rollout = a_test(looks=5)
    kept = Terms.model_validate_json(Terms.of(rollout).model_dump_json())
    assert (kept.horizon_units, kept.looks) == (2000, 5)
    assert Terms.of(kept.rollout(rollout.name)) == kept
