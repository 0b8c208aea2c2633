"""Which chunk, and how many at once: pure decisions over constructed measurements."""

from collections.abc import Callable
from math import ceil, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.serving.tuning import (
    ChunkMeasured,
    LevelMeasured,
    choose_chunk,
    choose_level,
    to_measure,
    to_try,
)


def chunk(tokens: int, gap_ms: float, ttft_ms: float = 1000.0) -> ChunkMeasured:
    return ChunkMeasured(tokens, gap_ms, gap_ms, 10.0, ttft_ms, 3, 30)


def level(concurrency: int, tokens_per_s: float, gap_ms: float = 10.0) -> LevelMeasured:
    return LevelMeasured(concurrency, tokens_per_s, 100.0, gap_ms)


def measured(
    candidates: list[int], slo_ms: float, gap_of: Callable[[int], float]
) -> list[ChunkMeasured]:
    """Carry out a whole search on an engine whose gap is known."""
    plan, found = to_measure(candidates, slo_ms), list[ChunkMeasured]()
    try:
        candidate = next(plan)
        while True:
            found.append(chunk(candidate, gap_of(candidate)))
            candidate = plan.send(found[-1])
    except StopIteration:
        return found


@given(
    st.sets(st.integers(1, 20_000), min_size=1, max_size=12),
    st.floats(1, 10_000),
    st.floats(0.01, 2),
)
def test_the_search_finds_the_largest_that_keeps_the_promise_in_few_starts(
    candidates: set[int], slo_ms: float, ms_per_token: float
) -> None:
    found = measured([*candidates], slo_ms, lambda tokens: 5 + ms_per_token * tokens)

    kept = [each for each in candidates if 5 + ms_per_token * each <= slo_ms]
    assert choose_chunk(found, slo_ms).chunk_tokens == max(kept, default=None)
    assert len(found) <= 1 + ceil(log2(len(candidates) + 1))
    assert len({each.chunk_tokens for each in found}) == len(found)


def test_an_engine_that_keeps_it_anyway_is_started_once() -> None:
    assert [each.chunk_tokens for each in measured([512, 8192], 100, lambda _: 20)] == [8192]


def test_the_cost_in_time_to_first_token_is_told() -> None:
    found = choose_chunk([chunk(8192, 7156, 7000), chunk(512, 1004, 7350)], 1500)

    assert found.chunk_tokens == 512
    assert found.ttft_cost == pytest.approx(0.05)
    assert found.gap_cut == pytest.approx(7.13, abs=0.01)
    assert "p99 gap, 1004 ms, is within 1500 ms" in found.reason


def test_where_nothing_keeps_it_nothing_is_chosen_and_the_reason_says_what_came_nearest() -> None:
    found = choose_chunk([chunk(8192, 7156), chunk(512, 1004)], 100)

    assert (found.chunk_tokens, found.ttft_cost) == (None, None)
    assert "the shortest p99 gap is 1004 ms, at 512 tokens" in found.reason
    assert choose_chunk([], 100).chunk_tokens is None


def test_doubling_ends_when_it_brought_too_little_twice_in_a_row() -> None:
    tokens_per_s = {1: 50, 2: 100, 4: 103, 8: 190, 16: 195, 32: 180, 64: 400}
    plan = to_try(64)
    assert next(plan) == 1
    for before, after in ((1, 2), (2, 4), (4, 8), (8, 16), (16, 32)):
        assert plan.send(level(before, tokens_per_s[before])) == after
    with pytest.raises(StopIteration):
        plan.send(level(32, tokens_per_s[32]))


def test_doubling_ends_at_the_most() -> None:
    plan = to_try(3)
    assert next(plan) == 1
    assert plan.send(level(1, 50)) == 2
    with pytest.raises(StopIteration):
        plan.send(level(2, 100))


def test_the_knee_is_the_fewest_that_are_within_a_twentieth_of_the_most() -> None:
    found = choose_level([level(1, 50), level(4, 190), level(8, 200), level(16, 190)])

    assert found.concurrency == 8
    assert choose_level([level(1, 50), level(4, 196), level(8, 200)]).concurrency == 4


def test_levels_that_break_the_gap_do_not_count() -> None:
    levels = [level(1, 50, 10), level(2, 90, 20), level(4, 150, 80)]

    assert choose_level(levels).concurrency == 4
    assert choose_level(levels, slo_gap_ms=50).concurrency == 2
    broken = choose_level(levels, slo_gap_ms=5)
    assert broken.concurrency is None
    assert "with 1 at a time the p99 gap is 10 ms already" in broken.reason


@given(st.lists(st.floats(1, 1000), min_size=1, max_size=8))
def test_nothing_measured_brings_a_twentieth_on_top_of_the_knee(tokens_per_s: list[float]) -> None:
    levels = [level(2**at, each) for at, each in enumerate(tokens_per_s)]

    knee = choose_level(levels).concurrency

    (chosen,) = (each for each in levels if each.concurrency == knee)
    assert all(each.tokens_per_s < chosen.tokens_per_s * 1.05 for each in levels)
    fewer = [each for each in levels if each.concurrency < chosen.concurrency]
    assert all(each.tokens_per_s * 1.05 <= max(tokens_per_s) for each in fewer)
