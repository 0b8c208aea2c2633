"""The benchmark of batches: its figures and bars, without an engine."""

import pytest

from benchmarks.batching import BARS, Joined, figures, gaps_within, report
from tierflow.serving.load import Timed


def a_reply(ttft_s: float, *gaps_s: float) -> Timed:
    return Timed(ttft_s, ttft_s + sum(gaps_s), gaps_s, "", None, 10, 1 + len(gaps_s), 0, "length")


def test_the_gaps_that_count_are_those_during_the_reading() -> None:
    # Pieces come after 1, 1.5, 4, 4.25 and 9 s.
    reply = a_reply(1.0, 0.5, 2.5, 0.25, 4.75)
    assert gaps_within(reply, 3.0, 4.1) == [2.5, 0.25]
    assert gaps_within(reply, 0.0, 1.0) == []
    assert gaps_within(reply, 4.25, 5.0) == [4.75]


def test_figures_are_medians_and_the_time_to_first_token_is_compared_pair_by_pair() -> None:
    one_shot = [Joined(10.0, 8.0, 6000), Joined(20.0, 20.0, 6000), Joined(10.0, 10.0, 6000)]
    chunked = [Joined(10.5, 1.0, 6000), Joined(21.0, 4.0, 6000), Joined(12.0, 2.0, 6000)]
    found = figures([(150.0, 100.0), (100.0, 80.0), (400.0, 100.0)], one_shot, chunked)
    assert found["continuous_over_static"] == 1.5
    assert found["gap_cut"] == 5.0
    assert found["ttft_cost"] == pytest.approx(0.05)
    told = report(found, {"cap": 8})
    assert told["met"] == dict.fromkeys(BARS, True)
    assert told["parameters"]["cap"] == 8
    assert told["machine"]["cpus"] > 0


@pytest.mark.parametrize(
    ("name", "missed", "met"),
    [
        ("continuous_over_static", 1.49, 1.5),
        ("gap_cut", 4.9, 5.0),
        ("ttft_cost", 0.101, 0.1),
    ],
)
def test_a_bar_is_met_or_missed(name: str, missed: float, met: float) -> None:
    assert not BARS[name].is_met(missed)
    assert BARS[name].is_met(met)
