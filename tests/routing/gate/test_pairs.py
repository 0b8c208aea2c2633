"""Break-even: when accepting the weak tier's reply costs nothing, and how sure that is."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tierflow.bounds import lower_share
from tierflow.routing.gate import (
    Choices,
    Judged,
    Pairs,
    Tally,
    balance_lower,
    loses_less,
    loss_upper,
    precision_floor,
)

from .labels import FAIR, judged


def test_the_break_even_is_the_strong_tiers_share_of_what_tells_the_tiers_apart() -> None:
    assert FAIR.break_even == 0.6
    assert 0.6 < FAIR.break_even_upper(0.95) < 0.66
    assert Pairs(both=10).break_even is None
    assert Pairs(both=10).break_even_upper(0.95) == 1
    assert (FAIR + FAIR).strong_only == 300


def test_a_judge_loses_nothing_exactly_if_it_is_at_the_break_even_or_above() -> None:
    """With so many items and pairs that all is known."""
    many = 10_000_000
    pairs = Pairs(both=many * 5, weak_only=many * 1, strong_only=many * 2, neither=many * 2)
    assert loss_upper(Tally.of([]), pairs, 0.95) > 0

    def judge(accuracy: float) -> Tally:
        right, wrong = many * 6, many * 4
        kept, fooled = round(right * accuracy), round(wrong * (1 - accuracy))
        return Tally(
            accepted_right=kept,
            rejected_right=right - kept,
            accepted_wrong=fooled,
            rejected_wrong=wrong - fooled,
        )

    assert loss_upper(judge(2 / 3 + 0.002), pairs, 0.95) == 0
    # gain = TAR p10 - FAR p01
    assert loss_upper(judge(0.6), pairs, 0.95) == pytest.approx(0.4 * 0.2 - 0.6 * 0.1, abs=1e-3)


def test_accepting_everything_costs_what_the_strong_tier_is_better() -> None:
    everything = Tally(accepted_right=600_000, accepted_wrong=400_000)
    found = loss_upper(everything, FAIR, 0.95)
    assert 0.05 < found < 0.13


def test_the_chance_of_missing_a_loss_is_as_small_as_said() -> None:
    """At the break-even itself, where half of all estimates say that nothing is lost."""
    random, runs = np.random.default_rng(11), 400
    opened = by_estimate = 0
    for _ in range(runs):
        good, unequal = 195, 90
        kept, fooled = int(random.binomial(good, 0.7)), int(random.binomial(300 - good, 0.3))
        tally = Tally(
            accepted_right=kept,
            rejected_right=good - kept,
            accepted_wrong=fooled,
            rejected_wrong=300 - good - fooled,
        )
        weak = int(random.binomial(unequal, 0.3))
        strong = unequal - weak
        pairs = Pairs(both=150, weak_only=weak, strong_only=strong, neither=60)
        opened += loss_upper(tally, pairs, 0.9) == 0
        by_estimate += kept / good * weak >= fooled / (300 - good) * strong
    assert by_estimate > 150
    assert opened <= 0.1 * runs


def test_no_triple_that_is_not_refuted_is_worse_than_the_bound() -> None:
    """The bound is found on a grid; here against points in between."""
    tally, confidence = Tally.of(judged(0.9, 0.2, 300)), 0.95
    bound = balance_lower(tally, FAIR, confidence)
    budget = 6.2958  # half of the chi-square with six degrees that is passed by chance in 5 %
    random, least = np.random.default_rng(2), 1.0
    for shares in random.dirichlet((1, 1, 1), 3000):
        doubts = np.exp(-budget * shares)
        tar = lower_share(tally.accepted_right, tally.right_replies, 1 - doubts[0])
        rejected = lower_share(tally.rejected_wrong, tally.wrong_replies, 1 - doubts[1])
        share = lower_share(FAIR.weak_only, FAIR.unequal, 1 - doubts[2])
        least = min(least, tar * share - (1 - rejected) * (1 - share))
    assert bound <= least <= bound + 0.01


def test_fishers_bound_needs_fewer_labels_than_three_bounds_do() -> None:
    tally, doubt = Tally.of(judged(0.9, 0.2, 300)), 0.05 / 3
    tar, far = tally.rates(1 - doubt)
    share = 1 - FAIR.break_even_upper(1 - doubt)
    assert balance_lower(tally, FAIR, 0.95) > tar * share - far * (1 - share) + 0.03


counts = st.integers(0, 300)


@given(st.tuples(counts, counts, counts, counts), st.integers(1, 300), st.integers(1, 300))
def test_a_better_judge_is_never_thought_worse(
    seen: tuple[int, int, int, int], weak: int, strong: int
) -> None:
    kept, missed, fooled, caught = seen
    assume(missed and fooled)
    pairs = Pairs(weak_only=weak, strong_only=strong, both=100)
    worse = Tally(
        accepted_right=kept, rejected_right=missed, accepted_wrong=fooled, rejected_wrong=caught
    )
    better = Tally(
        accepted_right=kept + 1,
        rejected_right=missed - 1,
        accepted_wrong=fooled - 1,
        rejected_wrong=caught + 1,
    )
    assert loss_upper(better, pairs, 0.95) <= loss_upper(worse, pairs, 0.95) + 1e-12
    assert 0 <= loss_upper(worse, pairs, 0.95) <= 1


@pytest.mark.parametrize("nothing", [Tally(), Choices()])
def test_without_labels_or_pairs_everything_may_be_lost(nothing: Tally | Choices) -> None:
    assert loss_upper(nothing, FAIR, 0.95) > 0.1
    assert loss_upper(Tally.of(judged(1, 0.5)), Pairs(), 0.95) > 0.5


def test_a_comparing_judge_is_held_against_the_break_even() -> None:
    assert loss_upper(Choices(right=90, wrong=10), FAIR, 0.95) == 0
    assert loss_upper(Choices(right=60, wrong=0, abstained=40), FAIR, 0.95) > 0


# --- strong replies of the same items


def paired(won: int, lost: int, rest: int) -> Tally:
    return Tally.of(
        [
            *(Judged(accepted=True, right=True, strong_right=False) for _ in range(won)),
            *(Judged(accepted=True, right=False, strong_right=True) for _ in range(lost)),
            *(Judged(accepted=True, right=True, strong_right=True) for _ in range(rest)),
            *(Judged(accepted=False, right=False, strong_right=True) for _ in range(rest)),
        ]
    )


def test_with_the_strong_replies_known_what_was_lost_is_held_against_what_was_won() -> None:
    assert loses_less(paired(40, 20, 100), 0.0, 0.95)
    # As many won as lost: at the break-even, which cannot be told from a small loss.
    assert not loses_less(paired(30, 30, 100), 0.01, 0.95)
    assert loses_less(paired(30, 30, 100), 0.08, 0.95)
    assert not loses_less(paired(10, 60, 100), 0.1, 0.95)


def test_a_verdict_that_knows_of_the_strong_reply_is_seen_through_only_if_that_is_known() -> None:
    """It accepts wrong replies just where the strong one is right, and right ones anywhere."""
    items = [
        *(Judged(accepted=True, right=True, strong_right=True) for _ in range(500)),
        *(Judged(accepted=False, right=True, strong_right=False) for _ in range(100)),
        *(Judged(accepted=True, right=False, strong_right=True) for _ in range(60)),
        *(Judged(accepted=False, right=False, strong_right=False) for _ in range(340)),
    ]
    pairs = Pairs(both=500, weak_only=100, strong_only=60, neither=340)

    assert loss_upper(Tally.of(items), pairs, 0.95) == 0
    assert not loses_less(Tally.of(items), 0.06, 0.95)


def test_items_without_a_strong_reply_are_refused_where_it_is_needed() -> None:
    with pytest.raises(ValueError, match="Of 400 items, 400 lack the strong tier's reply"):
        loses_less(Tally.of(judged(0.9, 0.1)), 0.01, 0.95)


@pytest.mark.parametrize(("max_loss", "chances"), [(0.01, (0.1, 0.11)), (0.0, (0.1, 0.1))])
def test_the_proof_on_paired_items_fails_as_seldom_as_said(
    max_loss: float, chances: tuple[float, float]
) -> None:
    random, opened = np.random.default_rng(4), 0
    for _ in range(1000):
        won, lost, rest = random.multinomial(300, (*chances, 1 - sum(chances))).tolist()
        tally = Tally(
            accepted_right=won,
            accepted_wrong=lost,
            rejected_wrong=rest,
            paired=300,
            won=won,
            lost=lost,
        )
        opened += loses_less(tally, max_loss, 0.9)
    assert opened <= 100


# --- what audits are held against


def test_the_precision_floor_is_where_winning_and_losing_balance() -> None:
    worth = FAIR.worth()
    assert worth == (100 / 600, 150 / 400)
    floor = precision_floor(worth, 0.5, 0.0)
    assert floor is not None
    assert floor * worth[0] == pytest.approx((1 - floor) * worth[1])
    looser = precision_floor(worth, 0.5, 0.02)
    assert looser is not None
    assert 0.5 * (looser * worth[0] - (1 - looser) * worth[1]) == pytest.approx(-0.02)
    assert precision_floor((0.0, 0.0), 0.5, 0.0) is None
    assert precision_floor(worth, 0.0, 0.0) is None
