"""A proof is seldom wrong, comes when the checks suffice, and goes when the world changes."""

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.caching.similar.proof import LADDER, Proof

RUNS = 200


def most_by_chance(runs: int, probability: float) -> int:
    """How many of the runs may fail before that is no chance (one in ten thousand) any more."""
    tail, count = 1.0, 0
    while tail > 1e-4:
        tail -= comb(runs, count) * probability**count * (1 - probability) ** (runs - count)
        count += 1
    return count


def checks_until_proven(proof: Proof, doubt: float = 0.0) -> int:
    for count in range(1, 5000):
        proof.add(doubt=doubt, right=True, weight=1.0, would_serve=False)
        if proof.level >= 0:
            return count
    raise AssertionError("nothing was proven")


def proven(promise: float = 0.02, confidence: float = 0.95) -> Proof:
    proof = Proof(promise, confidence)
    checks_until_proven(proof)
    return proof


def live(proof: Proof, seed: int, count: int, rates: dict[float, float]) -> int:
    """Let cases come, each doubt as often; `rates`: how often each is wrong, by doubt.

    As in the cache: what is proven is checked now and then, all else always. Return the loosest
    level that was ever proven.
    """
    random = np.random.default_rng(seed)
    doubts = list(rates)
    loosest = -1
    for _ in range(count):
        doubt, chance, luck = doubts[random.integers(len(doubts))], random.random(), random.random()
        would_serve = bool(doubt <= proof.limit)
        share = proof.audit_share(doubt) if would_serve else 1.0
        if chance < share:
            right = luck >= rates[doubt]
            proof.add(doubt=doubt, right=right, weight=1 / share, would_serve=would_serve)
            loosest = max(loosest, proof.level)
    return loosest


# --- nothing is proven that is not so


@pytest.mark.parametrize(
    ("promise", "confidence", "worse"), [(0.1, 0.9, 1.0), (0.1, 0.9, 1.1), (0.25, 0.8, 1.0)]
)
def test_a_promise_that_does_not_hold_is_seldom_proven(
    promise: float, confidence: float, worse: float
) -> None:
    doubts = {float(each) * promise: worse * promise for each in LADDER}

    fooled = sum(live(Proof(promise, confidence), seed, 300, doubts) >= 0 for seed in range(RUNS))

    assert fooled <= most_by_chance(RUNS, 1 - confidence)


def test_of_many_checks_the_poor_first_ones_are_forgotten_without_loss_of_confidence() -> None:
    # So many that three bets run.
    fooled = sum(live(Proof(0.1, 0.9), seed, 2600, {0.05: 0.1}) >= 0 for seed in range(25))

    assert fooled <= most_by_chance(25, 0.1)


def test_sampled_checks_do_not_prove_a_level_that_is_too_loose() -> None:
    # Half of the cases are near certain; with the other half, promised and wrong are the same.
    promise, certain, doubtful = 0.1, 0.04, 0.45
    proofs = [Proof(promise, 0.9) for _ in range(100)]

    loosest = [
        live(proof, seed, 1200, {certain: 0.01, doubtful: 0.19})
        for seed, proof in enumerate(proofs)
    ]

    level = int(np.searchsorted(proofs[0].limits, doubtful))
    assert sum(each >= level for each in loosest) <= most_by_chance(len(loosest), 0.1)
    assert all(each >= 0 for each in loosest)
    assert sum(proof.limit >= certain for proof in proofs) >= 0.95 * len(proofs)
    # Most of what is certain was served, and so only a share of it was checked.
    assert all(proof.hits > 0.3 * 600 for proof in proofs)


def test_what_holds_is_proven_at_all_levels_for_which_it_holds() -> None:
    promise = 0.05
    rates = {float(each) * promise: 0.2 * promise for each in LADDER}

    for seed in range(8):
        assert live(Proof(promise, 0.95), seed, 3000, rates) >= 8


@pytest.mark.parametrize(("promise", "checks"), [(0.01, 750), (0.02, 380), (0.05, 150)])
def test_without_an_error_it_takes_as_many_checks_as_the_page_says(
    promise: float, checks: int
) -> None:
    assert round(checks_until_proven(Proof(promise, 0.95)), -1) == checks


@given(
    promise=st.floats(0.005, 0.5),
    confidence=st.floats(0.5, 0.999),
    wrong=st.integers(1, 30),
)
def test_an_error_never_brings_a_proof_nearer(
    promise: float, confidence: float, wrong: int
) -> None:
    clean, stained = Proof(promise, confidence), Proof(promise, confidence)
    for number in range(40):
        clean.add(doubt=0.0, right=True, weight=1.0, would_serve=False)
        stained.add(doubt=0.0, right=number != wrong, weight=1.0, would_serve=False)

    assert stained.level <= clean.level
    assert 0 <= stained.evidence() <= clean.evidence()
    assert (stained.level >= 0) == (stained.evidence() >= 1)


def test_cases_beyond_all_levels_count_for_nothing() -> None:
    proof = Proof(0.05, 0.95)
    for _ in range(500):
        assert not proof.add(doubt=0.9, right=True, weight=1.0, would_serve=False)
    assert (proof.level, proof.limit, proof.checked, proof.evidence()) == (-1, -1.0, 0, 0.0)


def test_a_doubtful_case_says_nothing_of_the_levels_below_it() -> None:
    proof = Proof(0.05, 0.95)
    for _ in range(500):
        proof.add(doubt=float(proof.limits[6]), right=True, weight=1.0, would_serve=False)
    # The levels come one after the other, and nothing has been seen at the first ones.
    assert (proof.level, proof.checked) == (-1, 500)


def test_the_first_hits_need_better_proof_than_the_promise() -> None:
    proof = Proof(0.1, 0.95)
    for number in range(6000):
        # One in twelve is wrong: less than promised, but not by a quarter.
        proof.add(doubt=0.0, right=number % 12 > 0, weight=1.0, would_serve=False)
    assert proof.level == -1

    proof.add(doubt=0.0, right=True, weight=1 + 1 / 0.1, would_serve=True)

    assert proof.level == len(LADDER) - 1


def test_many_errors_take_a_proof_back() -> None:
    proof = proven(0.05)
    for _ in range(20):
        proof.add(doubt=0.0, right=False, weight=1.0, would_serve=False)
    assert proof.level == -1


@pytest.mark.parametrize("promise", [1e-4, 0.3, 0.5, 0.99])
def test_every_promise_can_be_tested(promise: float) -> None:
    proof = Proof(promise, 0.95)
    for number in range(100):
        proof.add(doubt=0.0, right=number % 3 > 0, weight=1.0, would_serve=number % 2 > 0)
    assert np.isfinite(proof.evidence())
    assert -1 <= proof.level < len(LADDER)
    assert float(proof.limits.max()) <= 0.6


# --- sampled checks


@given(
    promise=st.floats(0.005, 0.9),
    doubt=st.floats(0, 1),
    weights=st.lists(st.floats(1, 1e4), max_size=30),
)
def test_the_share_of_checks_is_a_probability_and_falls_to_no_less_than_it_should(
    promise: float, doubt: float, weights: list[float]
) -> None:
    proof = Proof(promise, 0.95)
    shares = [proof.audit_share(doubt)]
    for weight in weights:
        proof.add(doubt=0.0, right=True, weight=weight, would_serve=True)
        shares.append(proof.audit_share(doubt))
    assert all(0.009 * (1 - 1e-9) <= share <= 1 for share in shares)
    assert shares == sorted(shares, reverse=True)


def test_the_share_of_checks_begins_with_all_and_is_greater_the_greater_the_doubt() -> None:
    proof = proven(0.02)
    assert proof.audit_share(float(proof.limits[-1])) == 1.0
    for _ in range(1000):
        proof.add(doubt=0.0, right=True, weight=100.0, would_serve=True)
    shares = [proof.audit_share(float(limit)) for limit in proof.limits]
    assert shares == sorted(shares)
    assert shares[0] == pytest.approx(0.009, abs=0.003)
    assert shares[-1] <= 0.06


# --- drift


def checks_until_drift(proof: Proof, wrong_rate: float, seed: int, most: int) -> int | None:
    for count, luck in enumerate(np.random.default_rng(seed).random(most), start=1):
        if proof.add(doubt=0.0, right=bool(luck >= wrong_rate), weight=5.0, would_serve=True):
            return count
    return None


def test_a_world_that_has_changed_is_seen_within_some_hundreds_of_checks() -> None:
    for seed in range(40):
        proof = proven(0.02)
        assert checks_until_drift(proof, 0.5 * 0.02, seed, 200) is None

        seen = checks_until_drift(proof, 5 * 0.02, seed + 1000, 500)

        assert seen is not None
        # All is as at the start.
        assert (proof.level, proof.checked, proof.hits, proof.evidence()) == (-1, 0, 0.0, 0.0)
        assert proof.audit_share(0.0) == Proof(0.02, 0.95).audit_share(0.0)
        assert checks_until_proven(proof) == checks_until_proven(Proof(0.02, 0.95))


def test_a_world_that_stays_seldom_looks_changed() -> None:
    alarms = [checks_until_drift(proven(0.02), 0.5 * 0.02, seed, 2000) for seed in range(20)]
    assert sum(each is not None for each in alarms) <= 1


def test_checks_of_what_would_not_be_served_raise_no_alarm() -> None:
    proof = Proof(0.02, 0.95)
    for _ in range(200):
        assert not proof.add(doubt=0.0, right=False, weight=1.0, would_serve=False)
