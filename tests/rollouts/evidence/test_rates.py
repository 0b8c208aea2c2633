"""Rates: harm is proven as seldom by chance as said, whenever one looks, and soon where it is."""

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.rollouts.evidence import Sample, Stage, harm_of_rates, no_harm_of_rates

PROOF = log(20)


def stage(weight: float, ours: int, theirs: int, units: tuple[int, int] = (100, 100)) -> Stage:
    """A stage with so many events in each arm."""
    return Stage(
        weight, Sample(units[0], ours, ours, ours), Sample(units[1], theirs, theirs, theirs)
    )


def first_alarm(chances: tuple[float, float], seed: int, limit: float = 1.0) -> int | None:
    """Units until the proof, one look for every twenty, in two stages; None for none in 4,000."""
    random = np.random.default_rng(seed)
    done, units = list[Stage](), 0
    for weight in (0.1, 0.5):
        now, seen = stage(weight, 0, 0), [0, 0, 0, 0]
        for _ in range(100):
            ours = int(random.binomial(20, weight))
            seen[0] += ours
            seen[1] += 20 - ours
            seen[2] += int(random.binomial(ours, chances[0]))
            seen[3] += int(random.binomial(20 - ours, chances[1]))
            units += 20
            now = stage(weight, seen[2], seen[3], (seen[0], seen[1]))
            if harm_of_rates([*done, now], limit) >= PROOF:
                return units
        done.append(now)
    return None


def test_nothing_seen_is_no_evidence() -> None:
    assert harm_of_rates([], 1.0) == no_harm_of_rates([], 1.0) == 0
    assert harm_of_rates([stage(0.5, 0, 0)], 1.0) == 0


@pytest.mark.parametrize(("rates", "limit"), [((0.1, 0.1), 1.0), ((0.12, 0.1), 1.25)])
def test_equal_arms_are_rarely_alarmed_however_often_one_looks(
    rates: tuple[float, float], limit: float
) -> None:
    alarms = sum(first_alarm(rates, seed, limit) is not None for seed in range(300))
    assert alarms <= 24  # 15 are expected at most; 25 come about once in 100 such tests


def test_a_candidate_that_fails_thrice_as_often_is_found() -> None:
    found = [first_alarm((0.3, 0.1), seed) for seed in range(50)]
    assert None not in found


def test_a_drift_of_both_arms_is_no_harm() -> None:
    early, late = stage(0.1, 2, 18, (100, 900)), stage(0.5, 20, 20, (100, 100))
    assert harm_of_rates([early, late], 1.0) < 1
    # Pooled, the later stage alone would look like harm: half of its units are the candidate's.
    assert harm_of_rates([stage(0.18, 22, 38, (200, 1000))], 1.0) > 1


@given(st.integers(0, 40), st.integers(0, 40), st.floats(0.05, 0.95))
def test_more_events_of_the_candidates_are_more_evidence_of_harm(
    ours: int, theirs: int, weight: float
) -> None:
    fewer, more = (harm_of_rates([stage(weight, ours + n, theirs)], 1.0) for n in (0, 1))
    assert more > fewer
    less, none = (no_harm_of_rates([stage(weight, ours + n, theirs)], 1.0) for n in (1, 0))
    assert none > less


@given(st.integers(0, 60), st.integers(0, 60))
def test_harm_and_no_harm_are_never_both_proven(ours: int, theirs: int) -> None:
    seen = [stage(0.5, ours, theirs)]
    assert min(harm_of_rates(seen, 1.0), no_harm_of_rates(seen, 1.0)) < PROOF
