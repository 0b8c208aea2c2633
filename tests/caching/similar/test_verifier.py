"""The verifier learns which matches are right, and stays sane whatever it is shown."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierflow.caching.similar import verifier as module
from tierflow.caching.similar.verifier import Verifier

FEATURES, CROSSED = 5, 3
Check = tuple[tuple[float, ...], bool]


def checks(count: int, seed: int = 0) -> list[Check]:
    """Matches that are right where the first feature is above the second."""
    rows = np.random.default_rng(seed).normal(size=(count, FEATURES))
    return [(tuple(row), row[0] > row[1]) for row in rows.tolist()]


def taught(those: Sequence[Check], weights: Sequence[float] | None = None) -> Verifier:
    verifier = Verifier(FEATURES, CROSSED)
    for (features, right), weight in zip(those, weights or [1.0] * len(those), strict=True):
        verifier.remember(features, right=right, weight=weight)
    verifier.fit()
    return verifier


def test_what_can_be_told_apart_is_told_apart() -> None:
    verifier = taught(checks(1500))

    scores = [(verifier.score(features), right) for features, right in checks(300, seed=1)]

    agreed = sum((score > 0.5) == right for score, right in scores)
    assert agreed >= 0.95 * len(scores)
    assert all(0 <= score <= 1 for score, _ in scores)


def test_what_depends_on_two_features_together_is_learned() -> None:
    rows = np.random.default_rng(2).normal(size=(3000, FEATURES)).tolist()
    verifier = taught([(tuple(row), row[0] * row[1] > 0) for row in rows[:2500]])

    agreed = sum((verifier.score(row) > 0.5) == (row[0] * row[1] > 0) for row in rows[2500:])

    assert agreed >= 0.9 * 500


def test_probabilities_are_about_true_once_there_is_much_to_learn_from() -> None:
    random = np.random.default_rng(3)
    rows = random.normal(size=(5000, FEATURES))
    right = random.random(5000) < 1 / (1 + np.exp(-1.5 * rows[:, 0]))
    pairs = zip(rows.tolist(), right.tolist(), strict=True)
    verifier = taught([(tuple(row), is_right) for row, is_right in pairs])

    scores = np.array([verifier.score(row) for row in rows.tolist()])

    for low in (0.1, 0.3, 0.5, 0.7):
        among = (scores >= low) & (scores < low + 0.2)
        assert abs(right[among].mean() - scores[among].mean()) < 0.06


def test_before_forty_checks_nothing_is_likely() -> None:
    verifier = Verifier(FEATURES, CROSSED)
    for count, (features, right) in enumerate(checks(40), start=1):
        assert verifier.score(features) == 0.0
        verifier.learn(features, right=right, weight=1.0)
        if count < 40:
            verifier.fit()
            assert verifier.score(features) == 0.0


@settings(max_examples=40)
@given(
    seed=st.integers(0, 1000),
    size=st.sampled_from([0.0, 1e-12, 1.0, 1e6, 1e12]),
    constant=st.booleans(),
    right=st.sampled_from([0.0, 0.02, 0.5, 1.0]),
    weight=st.sampled_from([1.0, 30.0, 1e9]),
)
def test_scores_are_probabilities_whatever_the_features(
    seed: int, size: float, constant: bool, right: float, weight: float
) -> None:
    random = np.random.default_rng(seed)
    rows = size * random.standard_cauchy(size=(60, FEATURES))
    if constant:
        rows[:] = rows[0]
    verifier = Verifier(FEATURES, CROSSED)
    for row in rows.tolist():
        verifier.learn(tuple(row), right=bool(random.random() < right), weight=weight)
    for row in (*rows[:5].tolist(), [0.0] * FEATURES, [1e9] * FEATURES, [-1e9] * FEATURES):
        assert 0 <= verifier.score(row) <= 1


def test_the_fit_is_the_best_there_is_however_it_began() -> None:
    those = [(*each, 1.0) for each in checks(300)]
    verifier = taught(checks(300))
    for number in range(4):
        # The world turns round: what was right is wrong.
        for features, right in checks(400, seed=number + 1):
            those.append((features, right != (number % 2 == 0), 1.0 + 29 * number))
            verifier.remember(features, right=those[-1][1], weight=those[-1][2])
        verifier.fit()
        again = taught([each[:2] for each in those], [each[2] for each in those])
        for features, _ in checks(30, seed=9):
            assert verifier.score(features) == pytest.approx(again.score(features), abs=0.01)


def test_weights_count_as_so_many_checks() -> None:
    those = checks(200)

    weighted, repeated, single = taught(those, [10.0] * 200), taught(those * 10), taught(those)

    for features, _ in checks(50, seed=1):
        assert weighted.score(features) == pytest.approx(repeated.score(features), abs=1e-3)
    assert abs(weighted.score(those[0][0]) - single.score(those[0][0])) > 0.01


def test_of_two_that_look_the_same_the_one_with_more_weight_counts_more() -> None:
    those = [((1.0,) * FEATURES, True), ((1.0,) * FEATURES, False)] * 100
    assert taught(those, [9.0, 1.0] * 100).score((1.0,) * FEATURES) == pytest.approx(0.9, abs=0.01)


def test_a_batch_teaches_about_what_the_same_checks_teach_one_by_one() -> None:
    those = checks(600)
    single = Verifier(FEATURES, CROSSED)
    for features, right in those:
        single.learn(features, right=right, weight=1.0)

    batch = taught(those)

    for features, _ in checks(100, seed=1):
        assert single.score(features) == pytest.approx(batch.score(features), abs=0.08)


def test_it_learns_again_ever_more_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    fits, taken = list[int](), 0
    verifier = Verifier(FEATURES, CROSSED)
    fit = verifier.fit

    def counting() -> None:
        fits.append(taken)
        fit()

    monkeypatch.setattr(verifier, "fit", counting)
    for features, right in checks(3000):
        taken += 1
        verifier.learn(features, right=right, weight=1.0)
    assert fits[0] == 40
    assert len(fits) < 30
    assert max(later / earlier for earlier, later in pairwise(fits)) < 1.5


def test_only_so_many_checks_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEPT", 100)
    verifier = Verifier(FEATURES, CROSSED)
    for features, right in checks(1000):
        verifier.remember(features, right=not right, weight=1.0)
    for features, right in checks(100, seed=1):
        verifier.remember(features, right=right, weight=1.0)
    verifier.fit()
    # What is long past is forgotten, though there was more of it.
    agreed = sum((verifier.score(features) > 0.5) == right for features, right in checks(200, 2))
    assert agreed > 150


def test_checks_with_other_features_than_these_teach_nothing() -> None:
    verifier = Verifier(FEATURES, CROSSED)
    for features, right in checks(100):
        verifier.learn(features[:-1], right=right, weight=1.0)
    assert verifier.score([0.0] * FEATURES) == 0.0
