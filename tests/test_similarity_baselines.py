"""The semantic cache's benchmark and its baselines, on questions that one can work out by hand."""

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.hit_figures import ASKED, GIVEN, RIGHT, WRONG, pair_figures, stream_figures
from benchmarks.question_sets import Arrivals, Pairs, Stream, Vectors
from benchmarks.similarity_baselines import (
    FixedThreshold,
    Kept,
    Neighbours,
    baseline_figures,
    best_threshold,
    gptcache_cosine,
    replay,
)
from benchmarks.similarity_replay import replay as replay_ours
from benchmarks.vcache_policy import SigmoidFit, VCache


def at(*degrees: float) -> Vectors:
    """Vectors on a circle: two of them have the cosine of the angle between them."""
    angles = np.radians(degrees)
    return np.stack((np.cos(angles), np.sin(angles)), axis=1).astype(np.float32)


def arriving(vectors: Vectors, answers: str, given: str = "") -> Arrivals:
    texts = [f"question {each}" for each in range(len(answers))]
    known = np.array([letter in given for letter in answers], np.bool_)
    return Arrivals(texts, vectors, list(answers), known, None, 0)


def many(count: int, groups: int, seed: int) -> Arrivals:
    """Questions around `groups` centres, each with the answer of its centre."""
    mixed = np.random.default_rng(seed)
    centres = mixed.standard_normal((groups, 16))
    group = mixed.integers(0, groups, count)
    vectors = centres[group] + 0.3 * mixed.standard_normal((count, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    # In letters: two numbers that differ would rule each other out.
    texts = [
        "about " + "".join(chr(97 + int(digit)) for digit in str(each)) for each in range(count)
    ]
    answers = [str(each) for each in group]
    return Arrivals(texts, vectors.astype(np.float32), answers, np.zeros(count, np.bool_), None, 0)


def decided(arrivals: Arrivals, least: float) -> list[int]:
    outcomes = replay(arrivals, Neighbours(arrivals.vectors), FixedThreshold(least))
    return [int(each) for each in outcomes]


def test_a_fixed_threshold_serves_the_nearest_that_was_asked() -> None:
    # The third is 10 degrees from the first (cos 0.985) and 15 from the second (0.966).
    found = decided(arriving(at(0, 25, 10, 26), "abab"), 0.97)

    assert found == [ASKED, ASKED, RIGHT, RIGHT]


def test_a_fixed_threshold_serves_wrong_answers_too() -> None:
    assert decided(arriving(at(0, 5), "ab"), 0.9) == [ASKED, WRONG]


def test_what_was_served_is_not_kept() -> None:
    # The third is near the second only, which was served from the first and never asked.
    assert decided(arriving(at(0, 20, 40), "aaa"), 0.9) == [ASKED, RIGHT, ASKED]


def test_a_given_question_is_kept_and_asked_of_nobody() -> None:
    assert decided(arriving(at(0, 5), "ga", given="g"), 0.9) == [GIVEN, WRONG]


@pytest.mark.parametrize(("setting", "cosine"), [(0.8, 0.6), (0.95, 0.9), (1.0, 1.0)])
def test_gptcaches_threshold_is_a_share_of_the_squared_distance(
    setting: float, cosine: float
) -> None:
    assert gptcache_cosine(setting) == pytest.approx(cosine)


@given(
    seed=st.integers(0, 1000), near=st.integers(1, 6), least=st.sampled_from([-1.0, 0.0, 0.7, 0.95])
)
def test_the_nearest_kept_one_is_found_however_few_neighbours_are_listed(
    seed: int, near: int, least: float
) -> None:
    arrivals = many(40, 5, seed)
    kept = Kept(Neighbours(arrivals.vectors, near))
    there: list[int] = []
    for each in range(40):
        found = kept.nearest(each, least)
        cosines = arrivals.vectors[there] @ arrivals.vectors[each] if there else np.empty(0)
        if len(cosines) and cosines.max() >= least + 1e-6:
            assert found is not None
            assert found[1] == pytest.approx(float(cosines.max()), abs=1e-5)
            assert there[int(cosines.argmax())] == found[0]
        elif not len(cosines) or cosines.max() < least - 1e-6:
            assert found is None
        if random.Random(seed + each).random() < 0.4:
            kept.add(each)
            there.append(each)


def test_the_best_threshold_serves_most_of_those_that_keep_the_promise() -> None:
    grid = {
        0.7: {"hit_rate": 0.9, "wrong_per_hit": 0.1},
        0.8: {"hit_rate": 0.6, "wrong_per_hit": 0.015},
        0.9: {"hit_rate": 0.4, "wrong_per_hit": 0.001},
    }

    assert best_threshold(grid, 0.02)["threshold"] == 0.8
    assert best_threshold(grid, 0.01)["hit_rate"] == 0.4
    assert best_threshold(grid, 0.0001) == {
        "threshold": None,
        "hit_rate": 0.0,
        "wrong_per_hit": 0.0,
    }


def test_a_sigmoid_is_recovered_from_many_checks() -> None:
    mixed = np.random.default_rng(7)
    s = mixed.uniform(0, 1, 4000)
    right = (mixed.uniform(0, 1, 4000) < 1 / (1 + np.exp(-20 * (s - 0.7)))).astype(np.float64)

    fit = SigmoidFit.of(s, right)

    assert fit.slope == pytest.approx(20, rel=0.15)
    assert abs(fit.middle - 0.7) < 4 * fit.sd < 0.1


def test_checks_that_one_threshold_separates_are_fitted_too() -> None:
    fit = SigmoidFit.of(np.array([0, 1, 0.6, 0.8]), np.array([0.0, 1.0, 0.0, 1.0]))

    assert fit.middle == pytest.approx(0.7)
    assert 0 < fit.sd < 0.2


def test_vcache_asks_until_it_has_four_checks_and_never_where_it_cannot_know() -> None:
    policy = VCache(0.02, lambda: 0.999)
    for _ in range(4):
        assert not policy.serves(0, 0.99)
        assert policy.keeps(0, 0.95, same=True) is False

    assert policy.serves(0, 0.99)
    assert not policy.serves(1, 0.99)
    # Below all that was right: a chance of 0.999 would serve if there were any.
    assert policy.exploring(SigmoidFit(50.0, 0.9, 0.05), 0.3) > 0.97


def test_vcache_keeps_a_question_only_if_the_nearest_answer_does_not_fit() -> None:
    policy = VCache(0.02, random.Random(0).random)

    assert policy.keeps(0, 0.95, same=False)
    assert not policy.keeps(0, 0.97, same=True)


def test_vcache_asks_more_under_a_stricter_promise() -> None:
    fit = SigmoidFit(60.0, 0.8, 0.02)
    rates = [VCache(delta, random.random).exploring(fit, 0.9) for delta in (0.01, 0.05, 0.2)]

    assert rates == sorted(rates, reverse=True)
    assert rates[0] > rates[2]


def test_all_baselines_have_the_figures_of_a_stream() -> None:
    found = baseline_figures(many(300, 6, 1), (0.01, 0.05), seed=0)

    names = {"cosine_0.8", "cosine_0.9", "cosine_best", "gptcache", "gptcache_0.95", "vcache"}
    shares = {"hit_rate", "second_half_hit_rate", "wrong_per_hit", "wrong_per_request"}
    assert set(found) == names
    assert found["cosine_0.9"] == found["gptcache_0.95"]
    assert found["gptcache"]["hit_rate"] >= found["cosine_0.8"]["hit_rate"]
    for name in ("cosine_best", "vcache"):
        assert set(found[name]) == {"0.01", "0.05"}
        assert all(shares | {"asks_saved"} <= set(each) for each in found[name].values())


def test_hits_are_counted_over_all_questions_and_wrong_ones_over_hits() -> None:
    figures = stream_figures(np.array([ASKED, ASKED, RIGHT, WRONG, RIGHT, RIGHT], np.int8))

    assert figures == {
        "hit_rate": 0.66667,
        "second_half_hit_rate": 1.0,
        "wrong_per_hit": 0.25,
        "wrong_per_request": 0.16667,
        "asks_saved": 0.66667,
    }


def test_pairs_count_what_was_asked_and_not_what_was_given() -> None:
    outcomes = np.array([GIVEN, RIGHT, GIVEN, WRONG, GIVEN, ASKED, GIVEN, ASKED], np.int8)
    same = np.array([True, True, False, False, False, False, True, True])

    figures = pair_figures(outcomes, same)

    assert figures == {"recall": 0.5, "wrong_rate": 0.5, "hit_rate": 0.5, "wrong_per_hit": 0.5}


def test_a_text_that_comes_again_is_left_out_of_a_stream() -> None:
    stream = Stream("s", ["x", "y", "x"], ["1", "2", "1"], at(0, 10, 0))

    assert stream.arrivals(None).texts == ["x", "y"]
    assert stream.arrivals(None).repeats == 1
    assert sorted(stream.arrivals(3).texts) == ["x", "y"]


@given(st.integers(0, 100))
def test_the_first_of_a_pair_is_there_before_the_second_arrives(seed: int) -> None:
    rows = [(0, 1), (0, 2), (3, 4)]
    pairs = Pairs("p", list("abcde"), list("11222"), at(0, 1, 2, 3, 4), rows, [True, False, True])

    arrivals = pairs.arrivals(seed)

    assert arrivals.pair_same is not None
    for first, second in rows:
        there = [arrivals.texts.index(pairs.texts[row]) for row in (first, second)]
        assert there == sorted(there)
        assert arrivals.given[there].tolist() == [True, False]
    assert arrivals.repeats == 0


def test_our_own_cache_serves_nothing_before_it_has_proof_and_then_rarely_wrongly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arrivals = many(3000, 5, 2)

    outcomes, times = replay_ours(arrivals, "tiny", 0.05, 0, timed=True)

    figures = stream_figures(outcomes)
    assert (outcomes[:100] == ASKED).all()
    assert figures["hit_rate"] > 0.2
    assert figures["wrong_per_hit"] <= 0.05
    assert len(times.decisions) == 150
    assert len(times.findings) == 2850
