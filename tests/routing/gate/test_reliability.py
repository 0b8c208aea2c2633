"""Reliability: what counts say, worked out by hand, and against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.bounds import lower_share, upper_share
from tierflow.routing.gate import (
    Choices,
    Compared,
    Judged,
    Tally,
    auroc,
    calibration_error,
    kappa_of,
    reliability,
    total,
)

from .labels import compared, judged

scored = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.8, 1.0]), st.booleans()), max_size=60
)


def test_a_judge_that_is_moved_by_the_order_abstains() -> None:
    moved = Compared("1", "2", "1")
    assert moved.abstained
    assert not moved.right
    assert Compared(None, None, "1").abstained
    assert not Compared("2", "2", "1").abstained
    assert not Compared("2", "2", "1").right
    assert Compared("2", "2", "2").right


def test_abstaining_counts_as_not_reliable() -> None:
    counts = Choices.of(compared(70, 10, 20))

    found = reliability(counts, 0.95)

    assert (counts.right, counts.wrong, counts.abstained) == (70, 10, 20)
    assert (found.count, found.accuracy) == (100, 0.7)
    assert found.accuracy_lower == lower_share(70, 100, 0.95)
    assert found.accuracy_upper == upper_share(70, 100, 0.95)
    assert found.tar is None


def test_accept_rates_have_bounds_that_hold_together() -> None:
    found = reliability(Tally.of(judged(0.9, 0.25, count=200)), 0.95)

    assert (found.tar, found.far) == (0.9, 0.25)
    tar_lower, far_upper = lower_share(108, 120, 0.975), upper_share(20, 80, 0.975)
    assert (found.tar_lower, found.far_upper) == (tar_lower, far_upper)
    assert found.balanced == pytest.approx(0.825)
    assert found.balanced_lower == pytest.approx((tar_lower + 1 - far_upper) / 2)
    assert found.accuracy == (108 + 60) / 200


def test_the_bounds_of_the_accept_rates_fail_together_as_seldom_as_said() -> None:
    random, failed = np.random.default_rng(3), 0
    for _ in range(1000):
        kept, fooled = int(random.binomial(90, 0.85)), int(random.binomial(40, 0.3))
        found = reliability(
            Tally(
                accepted_right=kept,
                rejected_right=90 - kept,
                accepted_wrong=fooled,
                rejected_wrong=40 - fooled,
            ),
            0.9,
        )
        assert found.tar_lower is not None
        assert found.far_upper is not None
        failed += found.tar_lower > 0.85 or found.far_upper < 0.3
    assert failed <= 135  # of 100 expected at most


def test_without_items_nothing_is_known() -> None:
    found = reliability(Tally(), 0.95)
    assert (found.accuracy, found.accuracy_lower, found.accuracy_upper) == (None, 0, 1)
    assert (found.tar, found.far, found.balanced, found.kappa) == (None, None, None, None)
    assert found.balanced_lower == 0
    assert (auroc([], []), calibration_error([], [])) == (None, None)


def test_counts_add_up_by_kind() -> None:
    one, other = Tally.of(judged(0.9, 0.1, 50)), Tally.of(judged(0.5, 0.5, 30))
    assert total([one, other]).count == 80
    assert total([one, other]).right == one.right + other.right
    assert total([Choices(right=1, wrong=2), Choices(abstained=3)]) == Choices(
        right=1, wrong=2, abstained=3
    )
    assert total([]).count == 0


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_kappa_is_the_one_of_scikit_learn(pairs: list[tuple[bool, bool]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    verdicts, right = zip(*pairs, strict=True)

    found = reliability(Tally.of(Judged(a, b) for a, b in pairs), 0.95).kappa

    if found is None:
        assert len({*verdicts, *right}) == 1
    else:
        wanted = metrics.cohen_kappa_score(verdicts, right, labels=[False, True])
        assert found == pytest.approx(float(wanted))


def test_kappa_of_comparisons_takes_abstaining_for_a_verdict() -> None:
    assert kappa_of(compared(10, 0)) is None
    mixed = [*compared(40, 10), *(Compared("2", "2", "2") for _ in range(50))]
    # Agreed 0.9; by chance 0.4 * 0.5 + 0.6 * 0.5.
    assert kappa_of(mixed) == pytest.approx(0.8)
    shy = [*compared(40, 0, 10), *(Compared("2", "2", "2") for _ in range(50))]
    assert kappa_of(shy) == pytest.approx((0.9 - 0.45) / 0.55)


@given(scored)
def test_auroc_is_the_one_of_scikit_learn(pairs: list[tuple[float, bool]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    scores, right = [score for score, _ in pairs], [good for _, good in pairs]

    found = auroc(scores, right)

    if len(set(right)) < 2:
        assert found is None
    else:
        assert found == pytest.approx(float(metrics.roc_auc_score(right, scores)))


def test_calibration_error_is_the_mean_distance_of_score_and_share() -> None:
    sure, unsure = [0.9] * 50, [0.5] * 50
    right = [place < 35 for place in range(50)]

    # 0.2 apart in the one half, 0.2 in the other.
    assert calibration_error(unsure + sure, right + right, bins=2) == pytest.approx(0.2)


@given(scored)
def test_calibration_error_is_a_share(pairs: list[tuple[float, bool]]) -> None:
    found = calibration_error([score for score, _ in pairs], [good for _, good in pairs])
    assert found is None if not pairs else 0 <= (found or 0) <= 1
