"""What holds of every simulation, whatever the jobs, the profile and the router."""

from collections import Counter
from collections.abc import Iterator
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from tierflow.serving.simulation import Job, Profile
from tierflow.serving.simulation.engine import Engine
from tierflow.serving.simulation.routers import Router
from tierflow.serving.simulation.stream import Batch, Stream
from tierflow.serving.simulation.tally import Limits, Tally

from .workloads import BLOCK, EXACT, profiles, routers, run, traffic


@given(traffic(), profiles, routers, st.integers(1, 3), st.data())
def test_every_job_ends_once_and_every_token_is_counted(
    jobs: list[Job], profile: Profile, kind: type[Router], replicas: int, data: st.DataObject
) -> None:
    prefill = data.draw(st.integers(0, replicas - 1))
    seen = run(jobs, profile, EXACT, replicas=replicas, prefill=prefill, router=kind())
    assert Counter(each.job.name for each in seen.ended) == Counter(each.name for each in jobs)
    gaps = len(seen.gaps) + sum(count * streams for _, _, count, streams in seen.strides)
    wanted = sum(each.output_tokens - 1 for each in jobs)
    assert gaps == wanted if profile.draft is None else gaps <= wanted
    for each in seen.ended:
        assert each.job.at_ms < each.first_ms <= each.end_ms
        assert (each.first_ms == each.end_ms) == (each.job.output_tokens == 1)


@given(traffic(), profiles)
def test_no_iteration_breaks_its_budget_or_its_memory(jobs: list[Job], profile: Profile) -> None:
    for engine, batch in followed(jobs, profile):
        used = sum(tokens for _, tokens in (*batch.chunks, *batch.decodes))
        assert 0 < used <= profile.max_num_batched_tokens
        assert engine.running <= profile.max_num_seqs
        assert engine.blocks.available >= 0
        assert engine.blocks.kept <= profile.kv_blocks
        running = (*engine.prefilling, *engine.decoding)
        for stream in running:
            held = len(stream.named) + stream.private
            assert stream.private >= 0
            assert stream.computed <= held * BLOCK
        waits = sum(each.expected for each in engine.waiting)
        assert engine.backlog_tokens == waits + sum(each.unread for each in engine.prefilling)


@given(traffic(), profiles)
def test_an_engine_that_is_done_holds_nothing_that_anybody_uses(
    jobs: list[Job], profile: Profile
) -> None:
    engines = {id(engine): engine for engine, _ in followed(jobs, profile)}
    (engine,) = engines.values()
    assert engine.requests == engine.backlog_tokens == 0
    assert engine.blocks.available == profile.kv_blocks


@given(traffic(), profiles, routers)
def test_no_more_is_found_in_caches_than_is_shared(
    jobs: list[Job], profile: Profile, kind: type[Router]
) -> None:
    seen = run(jobs, profile, EXACT, replicas=2, router=kind())
    families = Counter(each.blocks[0] for each in jobs if each.blocks)
    longest = {
        first: max(len(each.blocks) for each in jobs if each.blocks[:1] == (first,))
        for first in families
    }
    for each in seen.ended:
        names = each.job.blocks
        shared = longest[names[0]] if names and families[names[0]] > 1 else 0
        assert each.cached_tokens <= min(shared * BLOCK, max(0, each.job.input_tokens - 1))
    assert seen.prompt_tokens == sum(each.input_tokens for each in jobs)
    assert 0 <= seen.hit_rate < 1


@given(traffic(), profiles, routers, st.integers(0, 3))
def test_equal_arguments_give_equal_runs(
    jobs: list[Job], profile: Profile, kind: type[Router], seed: int
) -> None:
    first, second = (
        run(jobs, profile, EXACT, replicas=2, prefill=1, router=kind(), seed=seed) for _ in "ab"
    )
    assert first.ended == second.ended
    assert first.gaps == second.gaps


@settings(max_examples=300)
@given(traffic(), profiles, routers, st.integers(1, 2))
def test_iterations_counted_in_one_go_are_those_counted_one_by_one(
    jobs: list[Job], profile: Profile, kind: type[Router], replicas: int
) -> None:
    quick = run(jobs, profile, EXACT, replicas=replicas, router=kind())
    slow = run(jobs, profile, EXACT, replicas=replicas, router=kind(), ahead=False)
    assert not slow.strides
    assert key(quick) == key(slow)
    assert every_gap(quick) == every_gap(slow)


@given(traffic(), profiles, st.sampled_from([20.0, 40.0, 200.0]), st.integers(0, 20))
def test_a_run_stops_early_only_when_its_limits_are_broken(
    jobs: list[Job], profile: Profile, gap_ms: float, late: int
) -> None:
    limits = Limits(300.0, gap_ms, late // 4, late)
    whole = run(jobs, profile, EXACT)
    broken = (
        sum(each.ttft_ms > limits.ttft_ms for each in whole.ended) > limits.late_firsts
        or sum(gap > limits.gap_ms for gap in every_gap(whole)) > limits.late_gaps
    )
    assert run(jobs, profile, EXACT, limits=limits).stopped == broken


def followed(jobs: list[Job], profile: Profile) -> Iterator[tuple[Engine, Batch]]:
    """Run an engine by hand and show it after each plan. All jobs are there from the start."""
    engine = Engine(profile, EXACT, Random(0), Tally())
    for each in jobs:
        engine.submit(Stream(each))
    now = 0.0
    while (batch := engine.plan(ahead=False)) is not None:
        yield engine, batch
        engine.finish(batch, now)
        now += batch.ms(1)


def key(seen: Tally) -> tuple[object, ...]:
    # Replicas whose jobs end in the same instant may be told of in either order.
    ended = sorted(seen.ended, key=lambda each: each.job.name)
    return ended, seen.iterations, seen.preemptions, seen.cached_tokens, seen.busy_ms


def every_gap(seen: Tally) -> list[float]:
    found = list(seen.gaps)
    for shortest, growth, count, streams in seen.strides:
        found += [shortest + growth * at for at in range(count) for _ in range(streams)]
    return sorted(found)
