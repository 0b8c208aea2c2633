"""Decisions: only what is proven faster and says the same, and only as far as was measured."""

import pytest

from tierflow.serving.validation.agreement import agreement
from tierflow.serving.validation.decision import Compared, compare, decide
from tierflow.serving.validation.measured import Trial
from tierflow.serving.validation.policy import Step
from tierflow.serving.validation.slices import Slice

from .made import trial

SLICE = Slice(step="triage")


def compared(*of: Trial, rivals: int = 1, lossy: bool = False) -> list[Compared]:
    return [compare(each, rivals=rivals, seed=1, lossy=lossy) for each in of]


def test_what_is_faster_and_equal_is_adopted_up_to_where_it_was_measured() -> None:
    found = decide(SLICE, compared(trial(1.9), trial(1.4, concurrency=4)))
    assert found.rule.steps == (Step(4, "spec"),)
    assert "as far as was measured" in found.rule.reason


def test_a_slower_way_at_eight_ends_the_adoption_at_four() -> None:
    tried = [trial(2.0), trial(1.3, concurrency=4), trial(0.8, concurrency=8)]
    found = decide(SLICE, compared(*tried))
    assert found.rule.steps == (Step(4, "spec"),)
    assert found.rule.reason.startswith("at 8 at once")


def test_nothing_is_adopted_above_a_concurrency_that_failed() -> None:
    tried = [trial(2.0), trial(0.9, concurrency=4), trial(2.0, concurrency=8)]
    assert decide(SLICE, compared(*tried)).rule.steps == (Step(1, "spec"),)


@pytest.mark.parametrize("speedup", [0.7, 1.0, 1.03, 1.05])
def test_a_gain_of_five_percent_or_less_is_not_adopted(speedup: float) -> None:
    found = decide(SLICE, compared(trial(speedup, noise=0.01)))
    assert found.rule.steps == ()
    assert "not proven to exceed 1.05" in found.rule.reason


def test_a_gain_that_few_noisy_pairs_show_is_not_proven() -> None:
    assert not compare(trial(1.3, pairs=7, noise=0.6), rivals=1, seed=0).adopted
    assert "fewer than" in compare(trial(2.0, pairs=5), rivals=1, seed=0).reason


def test_one_different_output_forbids_where_the_engine_repeats_itself() -> None:
    found = compare(trial(2.0, different=1, rerun=0), rivals=1, seed=0)
    assert not found.adopted
    assert "1 of 12 outputs differ, and none by the plain engine's own rerun" in found.reason


def test_an_engine_that_differs_from_itself_may_be_differed_from_as_often() -> None:
    same = trial(2.0, pairs=400, different=40, rerun=60)
    assert compare(same, rivals=1, seed=0).adopted
    more = trial(2.0, pairs=400, different=120, rerun=40)
    assert not compare(more, rivals=1, seed=0).adopted
    # A dozen outputs cannot show that.
    few = compare(trial(2.0, different=1, rerun=1), rivals=1, seed=0)
    assert not few.adopted
    assert "they may be" in few.reason


def test_nothing_compared_is_no_agreement() -> None:
    assert not agreement([]).agrees


def test_a_lossy_way_is_labelled_and_never_adopted_unasked() -> None:
    tried = trial(2.0, different=6, rerun=0)
    found = compare(tried, rivals=1, seed=0, lossy=True)
    assert not found.adopted
    assert "lossy" in found.reason
    asked = compare(tried, rivals=1, seed=0, lossy=True, accept_lossy=True)
    assert asked.adopted
    assert "lossy" in asked.reason


def test_of_several_drafts_the_best_proven_serves_each_concurrency() -> None:
    tried = [
        trial(2.0, against="k=8", seed=1),
        trial(1.5, against="k=2", seed=2),
        trial(1.02, against="k=8", concurrency=4, seed=3),
        trial(1.4, against="k=2", concurrency=4, seed=4),
    ]
    found = decide(SLICE, compared(*tried, rivals=2))
    assert found.rule.steps == (Step(1, "k=8"), Step(4, "k=2"))


def test_rivals_must_be_proven_more_surely() -> None:
    tried = trial(1.2, noise=0.15, pairs=10)
    bounds = [compare(tried, rivals=rivals, seed=0).speedup for rivals in (1, 5)]
    assert bounds[0] is not None
    assert bounds[1] is not None
    assert bounds[1].low < bounds[0].low


def test_the_place_of_the_first_difference_is_told() -> None:
    found = compare(trial(2.0, different=3, rerun=0), rivals=1, seed=0)
    assert found.agreement.other.first_at == 2
