"""Planning: the least replicas that keep a promise, found by doubling and bisection."""

from itertools import pairwise

import pytest

from tierflow.errors import SimulationError
from tierflow.serving.simulation import CostModel, Draft, Profile
from tierflow.serving.simulation.planning import (
    Candidate,
    Figures,
    Search,
    Slo,
    best_of,
    candidate_of,
)
from tierflow.serving.simulation.traces import Trace

from .workloads import a_profile, job

COST = CostModel(iteration_ms=8, token_ms=0.25)


def a_trace(every_ms: float = 20, count: int = 400) -> Trace:
    """Prompts of 40 to 440 tokens; each writes 20."""
    jobs = tuple(job(every_ms * at, 40 + 100 * (at % 5), 20, at) for at in range(count))
    return Trace("made", jobs, 16)


def a_search(slo: Slo, *, most: int = 64, trace: Trace | None = None) -> Search:
    return Search(trace or a_trace(), COST, slo, most=most)


def keeps(search: Search, candidate: Candidate, replicas: int) -> bool:
    trace = search.trace
    one = Search(trace, search.cost, search.slo, most=replicas)
    found = one.least(candidate)
    return found.figures is not None and found.figures.replicas <= replicas


@pytest.mark.parametrize("ttft_s", [0.2, 0.5, 2])
def test_one_replica_less_would_break_the_promise(ttft_s: float) -> None:
    search = a_search(Slo(ttft_s, 60))
    candidate = Candidate("128", a_profile(128))
    found = search.least(candidate).figures
    assert found is not None
    assert found.replicas > 1
    assert found.ttft_s <= ttft_s
    assert found.gap_ms <= 60
    assert not keeps(search, candidate, found.replicas - 1)


def test_a_heavier_load_takes_more_replicas() -> None:
    counts = list[int]()
    for every_ms in (40, 20, 10, 5):
        search = a_search(Slo(0.3, 60), trace=a_trace(every_ms))
        found = search.least(Candidate("128", a_profile(128))).figures
        assert found is not None
        counts.append(found.replicas)
    assert all(fewer < more for fewer, more in pairwise(counts))


def test_what_no_number_keeps_is_told_with_what_broke() -> None:
    large = Candidate("512", a_profile(512))
    found = a_search(Slo(10, 12), most=6).least(large)
    assert (found.figures, found.tried, found.broken) == (None, 6, "gap")
    assert a_search(Slo(0.01, 1000), most=6).least(large).broken == "ttft"


def test_pools_apart_keep_every_gap_short_where_pools_together_cannot() -> None:
    search = a_search(Slo(2, 20, share=1), most=8)
    assert search.least(Candidate("512", a_profile(512))).figures is None
    apart = search.least(Candidate("512+apart", a_profile(512), apart=True)).figures
    assert apart is not None
    assert 0 < apart.prefill < apart.replicas


def test_the_best_has_the_fewest_replicas_and_then_the_most_to_spare() -> None:
    search = a_search(Slo(0.5, 100))
    offers = [search.least(Candidate(str(size), a_profile(size))) for size in (32, 256, 64)]
    best = best_of(offers, search.strain)
    assert best is not None
    assert best.figures is not None
    found = [each.figures for each in offers if each.figures]
    assert best.figures.replicas == min(each.replicas for each in found)
    same = [each for each in found if each.replicas == best.figures.replicas]
    assert search.strain(best.figures) == min(map(search.strain, same))
    assert best_of([], search.strain) is None


def test_lanes_are_compared_on_equal_replicas() -> None:
    search = a_search(Slo(1, 100))
    rows = dict(search.lanes(Candidate("128", a_profile(128)), 4))
    assert next(iter(rows)) == "one lane"
    assert len(rows) > 2
    assert {each.replicas for each in rows.values()} == {4}
    assert all(isinstance(each, Figures) and each.busy > 0 for each in rows.values())


def test_words_name_profiles() -> None:
    base = Profile(draft=Draft(acceptance=0.5))
    trace = a_trace()
    chunked = candidate_of("512", base, trace)
    assert (chunked.profile.max_num_batched_tokens, chunked.profile.draft) == (512, None)
    whole = candidate_of("whole+draft+apart", base, trace)
    assert (whole.profile.max_num_batched_tokens, whole.profile.chunked) == (460, False)
    assert whole.apart
    assert whole.profile.draft == base.draft


@pytest.mark.parametrize("word", ["", "0", "large", "512+fast", "-5"])
def test_a_word_that_names_no_profile_is_refused_with_examples(word: str) -> None:
    with pytest.raises(SimulationError, match=r"No profile .*2048\+draft"):
        candidate_of(word, Profile(), a_trace())


def test_a_draft_needs_its_acceptance_rate() -> None:
    with pytest.raises(SimulationError, match="--acceptance"):
        candidate_of("512+draft", Profile(), a_trace())
