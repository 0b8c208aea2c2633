"""The benchmark of placement before real engines: what it makes of what was measured."""

import json

from benchmarks.engine_affinity import Agreement, Extent, Played, figures_of, report

TURNS = Played(0.5, 0.7, 60.0, 0)
OURS = Played(0.78, 0.2, 40.0, 0)
ROUTER = Played(0.77, 0.2, 40.0, 1)


def test_figures_that_meet_their_bars_are_told_apart_from_those_that_do_not() -> None:
    played = {"round_robin": TURNS, "affinity": OURS, "sglang_router": ROUTER}

    found = report(figures_of(0.13, Agreement(1.0, 0.7), played), Extent(), 0)

    assert found["met"] == {
        "warm_over_cold_ttft": False,
        "affinity_over_round_robin": True,
        "index_agreement": True,
        "router_distance": True,
    }
    assert (found["hit_affinity"], found["hit_round_robin"]) == (0.78, 0.5)
    assert found["router_distance"] == 0
    assert found["failed"] == 1
    assert found["machine"]["cpus"] > 0
    assert json.loads(json.dumps(found)) == found


def test_without_the_router_there_is_no_distance_to_it() -> None:
    found = report(
        figures_of(0.05, Agreement(1.0, 0.7), {"round_robin": TURNS, "affinity": OURS}), Extent(), 0
    )

    assert "router_distance" not in found["met"]
    assert "hit_sglang_router" not in found


def test_the_prefixes_fit_into_both_caches_and_into_neither_alone() -> None:
    extent = Extent()

    assert extent.cache_tokens < extent.prefixes * extent.prefix_tokens < 2 * extent.cache_tokens
