"""Engines worked out by hand: 8 ms an iteration and 1 ms a token, budgets of 64 tokens."""

import pytest

from tierflow.errors import SimulationError
from tierflow.serving.simulation import CostModel, Draft, work_of

from .workloads import UNIT, a_profile, job, run


def test_a_prompt_within_the_budget_takes_one_iteration_and_each_token_another() -> None:
    seen = run([job(100, 50, 3)])
    (ended,) = seen.ended
    assert ended.first_ms == 100 + 8 + 50
    assert ended.end_ms == ended.first_ms + 2 * (8 + 1)
    assert seen.gap_quantile(1) == 9


def test_a_long_prompt_is_read_beside_the_tokens_that_others_write() -> None:
    seen = run([job(0, 10, 6, 0), job(1, 126, 1, 1)])
    by_name = {each.job.name: each for each in seen.ended}
    assert by_name[0].first_ms == 18
    # Each takes 64 tokens: one is written, 63 are read.
    assert by_name[1].first_ms == 18 + 2 * 72
    assert by_name[0].end_ms == 18 + 2 * 72 + 3 * 9
    assert sorted(seen.gaps)[-2:] == [72, 72]


def test_without_chunks_a_prompt_waits_until_it_fits_beside_the_decodes() -> None:
    profile = a_profile(64, chunked=False)
    seen = run([job(0, 10, 4, 0), job(1, 63, 1, 1), job(1, 10, 1, 2)], profile)
    by_name = {each.job.name: each for each in seen.ended}
    assert by_name[1].first_ms == 18 + 72
    assert by_name[2].first_ms == 18 + 72 + 8 + 1 + 10


def test_seats_are_given_in_the_order_of_arrival() -> None:
    seen = run([job(0, 10, 3, 0), job(1, 10, 1, 1), job(2, 10, 1, 2)], a_profile(seats=1))
    assert [each.job.name for each in seen.ended] == [0, 1, 2]
    assert [each.first_ms for each in seen.ended] == [18, 54, 72]


def test_a_prefix_that_was_read_before_is_not_read_again() -> None:
    seen = run([job(0, 48, 1, 0, family=1), job(500, 60, 1, 1, family=1)])
    assert [each.cached_tokens for each in seen.ended] == [0, 48]
    assert seen.ended[1].first_ms == 500 + 8 + 12


def test_the_last_token_of_a_prompt_is_computed_in_any_case() -> None:
    seen = run([job(0, 48, 1, 0, family=1), job(500, 48, 1, 1, family=1)])
    assert seen.ended[1].cached_tokens == 32
    assert seen.ended[1].first_ms == 500 + 8 + 16


def test_the_least_recently_used_blocks_make_room() -> None:
    jobs = [job(500 * at, 48, 1, at, family=family) for at, family in enumerate((1, 2, 1, 3, 2, 1))]
    seen = run(jobs, a_profile(blocks=6))
    # Three blocks each, six in all: the third family takes the place of the second's.
    assert [each.cached_tokens for each in seen.ended] == [0, 0, 32, 0, 0, 0]
    assert run(jobs, a_profile(blocks=9)).cached_tokens == 3 * 32


def test_who_came_last_gives_its_blocks_back_and_reads_all_again() -> None:
    seen = run([job(0, 30, 40, 0), job(0, 30, 40, 1)], a_profile(blocks=8))
    by_name = {each.job.name: each for each in seen.ended}
    assert [by_name[name].preemptions for name in (0, 1)] == [0, 1]
    # Both fill 4 of 8 blocks with the prompt and 34 tokens; then one goes on alone.
    both = 8 + 60 + 34 * 10
    assert by_name[0].first_ms == by_name[1].first_ms == 68
    assert by_name[0].end_ms == both + 5 * 9
    # 65 tokens are read again, in two iterations, and the last five written.
    assert by_name[1].end_ms == by_name[0].end_ms + (8 + 64) + (8 + 1) + 4 * 9
    assert seen.preemptions == 1


def test_a_job_that_never_fits_is_named_with_what_would_help() -> None:
    with pytest.raises(SimulationError, match=r"Request 7 grows to 170 tokens.*--kv-tokens"):
        run([job(0, 100, 70, 7)], a_profile(blocks=10))
    with pytest.raises(SimulationError, match="max_num_batched_tokens"):
        run([job(0, 100, 70, 7)], a_profile(64, chunked=False))


def test_with_perfect_drafts_each_iteration_writes_k_plus_one_tokens() -> None:
    draft = Draft(k=4, acceptance=1, cost=0.25)
    seen = run([job(0, 10, 11)], a_profile(draft=draft))
    # The draft reads the prompt, too; then two iterations of 5 tokens and 4 passes of the draft.
    prompt, step = 8 + 10 + 0.25 * 10, 8 + 5 + 0.25 * 4 * (8 + 1)
    assert seen.ended[0].first_ms == prompt
    assert seen.ended[0].end_ms == prompt + 2 * step
    assert run([job(0, 10, 11)], a_profile(draft=Draft(k=4, acceptance=0))).iterations == 11


def test_attention_is_counted_token_by_token() -> None:
    work = work_of([(3, 10)], [(1, 5)])
    assert (work.tokens, work.pairs, work.decodes, work.context) == (4, 11 + 12 + 13 + 6, 1, 5)
    cost = CostModel(iteration_ms=1, token_ms=10, pair_ms=100, decode_ms=1000, context_ms=10000)
    assert cost.ms(work) == 1 + 40 + 4200 + 1000 + 50000


def test_a_request_takes_its_way_before_it_waits() -> None:
    seen = run([job(100, 50, 1)], cost=UNIT.model_copy(update={"request_ms": 7.0}))
    assert seen.ended[0].ttft_ms == 7 + 58
