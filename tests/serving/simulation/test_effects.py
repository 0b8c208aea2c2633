"""What is known of engines and queues shows in the simulator."""

from random import Random
from statistics import fmean

import pytest

from tierflow.serving.simulation import CostModel, Draft, Job
from tierflow.serving.simulation.cost import H100_8B
from tierflow.serving.simulation.routers import Lanes, LeastLoaded, LeastWork, RoundRobin
from tierflow.serving.simulation.tally import Tally

from .workloads import a_profile, job, run

SMALL_CPU = CostModel(iteration_ms=16, token_ms=0.45, pair_ms=2.06e-4)


def joined(budget: int, *, chunked: bool = True) -> Tally:
    """Four streams write while a prompt of 6,000 tokens joins them."""
    jobs = [*(job(0, 64, 300, name) for name in range(4)), job(1000, 6000, 4, 9)]
    return run(jobs, a_profile(budget, chunked=chunked), SMALL_CPU)


def ttft(seen: Tally) -> float:
    return next(each.ttft_ms for each in seen.ended if each.job.name == 9)


def test_smaller_chunks_shorten_the_longest_gap_for_a_little_time_to_first_token() -> None:
    seen = [joined(budget) for budget in (8192, 2048, 512, 128)]
    longest = [each.gap_quantile(1) for each in seen]
    assert longest == sorted(longest, reverse=True)
    assert longest[0] > 20 * longest[-1]
    waits = [ttft(each) for each in seen]
    assert waits == sorted(waits)
    assert waits[2] < 1.1 * waits[0]


def test_without_chunks_the_longest_gap_is_the_whole_prompt() -> None:
    seen = joined(8192, chunked=False)
    assert seen.gap_quantile(1) == pytest.approx(ttft(seen), rel=0.02)


def test_separate_replicas_for_prompts_leave_no_gap_of_a_prompt() -> None:
    jobs = [*(job(0, 64, 300, name) for name in range(4)), job(1000, 6000, 4, 9)]
    together = run(jobs, a_profile(512), SMALL_CPU, replicas=2, router=RoundRobin())
    apart = run(jobs, a_profile(512), SMALL_CPU, replicas=2, prefill=1, transfer=0.1)
    quiet = run(jobs[:4], a_profile(512), SMALL_CPU)
    assert together.gap_quantile(0.99) > 5 * quiet.gap_quantile(0.99)
    assert apart.gap_quantile(0.99) < 1.5 * quiet.gap_quantile(0.99)


def test_a_prompts_keys_and_values_take_their_time_to_the_other_pool() -> None:
    near, far = (
        run([job(0, 1000, 2)], a_profile(2048), SMALL_CPU, replicas=2, prefill=1, transfer=each)
        for each in (0, 50)
    )
    assert near.ended[0].first_ms == far.ended[0].first_ms
    assert far.ended[0].end_ms - near.ended[0].end_ms == pytest.approx(50)


@pytest.mark.parametrize(("streams", "pays"), [(1, True), (128, False)])
def test_drafts_speed_up_small_batches_and_slow_down_large_ones(streams: int, pays: bool) -> None:
    jobs = [job(0, 64, 200, name) for name in range(streams)]
    draft = Draft(k=4, acceptance=0.7, cost=0.2)
    drafting = a_profile(8192, seats=128, blocks=10_000, draft=draft)
    plain, drafted = (
        run(jobs, profile, CostModel(iteration_ms=16, token_ms=0.45))
        for profile in (a_profile(8192, seats=128, blocks=10_000), drafting)
    )
    assert (ends(drafted) < ends(plain)) is pays


def ends(seen: Tally) -> float:
    return max(each.end_ms for each in seen.ended)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_prompts_one_at_a_time_wait_as_in_an_m_d_1_queue(load: float) -> None:
    chance, now, jobs, service = Random(1), 0.0, list[Job](), 8 + 40
    for name in range(40_000):
        now += chance.expovariate(load / service)
        jobs.append(job(now, 40, 1, name))
    seen = run(jobs, a_profile(seats=1), CostModel(iteration_ms=8, token_ms=1))
    # Pollaczek and Khinchine: the mean wait in the queue where each service takes as long.
    wait = load * service / (2 * (1 - load))
    assert fmean(each.ttft_ms for each in seen.ended) == pytest.approx(service + wait, rel=0.05)


def test_the_accepted_drafts_are_as_many_as_the_closed_form_says() -> None:
    k, acceptance = 4, 0.7
    draft = Draft(k=k, acceptance=acceptance)
    seen = run([job(0, 16, 20_000)], a_profile(blocks=2000, draft=draft))
    # Leviathan et al. (arXiv 2211.17192), equation 1.
    expected = (1 - acceptance ** (k + 1)) / (1 - acceptance)
    assert 20_000 / seen.iterations == pytest.approx(expected, rel=0.03)


def test_jobs_go_round_or_to_whoever_has_fewest_or_to_whoever_knows_their_prefix() -> None:
    jobs = [job(1.0 * at, 160, 1, at, family=1 + at % 2) for at in range(6)]

    def replicas(router: RoundRobin | LeastLoaded | LeastWork | Lanes) -> list[int]:
        seen = run(jobs, a_profile(256), H100_8B, replicas=3, router=router)
        return [each.replica for each in sorted(seen.ended, key=lambda each: each.job.name)]

    assert replicas(RoundRobin()) == [0, 1, 2, 0, 1, 2]
    assert replicas(LeastLoaded())[:3] == [0, 1, 2]
    assert replicas(LeastWork()) == [0, 1, 0, 1, 0, 1]
    assert replicas(Lanes(threshold=100, heavy=2)) == [0, 1, 2, 2, 2, 2]
