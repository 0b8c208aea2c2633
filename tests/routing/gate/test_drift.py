"""Drift: a fall is found soon, a calm stream raises no alarm, and what is promised holds."""

import json
import random
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.routing.gate import Drift


def labels_until_alarm(drift: Drift, share: float, seed: str, most: int = 20_000) -> int:
    mixed = random.Random(seed)
    for labels in range(1, most + 1):
        if drift.add(mixed.random() < share):
            return labels
    return most + 1


def calm(seed: int) -> Drift:
    drift = Drift()
    labels_until_alarm(drift, 0.87, f"calm {seed}", 500)
    return drift


def test_a_fall_from_087_to_070_is_found_within_200_audits() -> None:
    found = [labels_until_alarm(calm(seed), 0.70, f"fall {seed}") for seed in range(200)]
    assert median(found) <= 200


def test_the_greater_the_fall_the_sooner_it_is_found() -> None:
    medians = [
        median(labels_until_alarm(calm(seed), share, f"fall {seed}") for seed in range(60))
        for share in (0.76, 0.70, 0.50, 0.0)
    ]
    assert medians == sorted(medians, reverse=True)
    assert medians[-1] <= 10


def test_a_calm_stream_raises_no_alarm_in_ten_thousand_audits() -> None:
    alarms = sum(labels_until_alarm(Drift(), 0.87, f"{n}", 10_000) <= 10_000 for n in range(40))
    assert alarms <= 2


@pytest.mark.parametrize("floor", [0.5, 0.8, 0.95])
def test_at_the_floor_itself_alarms_are_as_rare_as_promised(floor: float) -> None:
    """Within n audits with probability n times the odds at most."""
    runs, labels, odds = 300, 200, 1e-3
    alarms = sum(
        labels_until_alarm(Drift(floor, odds), floor, f"{floor} {n}", labels) <= labels
        for n in range(runs)
    )
    # 60 are allowed on average; 82 would be three deviations more.
    assert alarms <= 82


@pytest.mark.parametrize("floor", [0.01, 0.3, 0.8, 0.99])
def test_every_bet_is_fair_at_the_floor(floor: float) -> None:
    wrong, right = Drift(floor), Drift(floor)
    wrong.add(False)
    right.add(True)
    for lost, won in zip(wrong.state()["capital"], right.state()["capital"], strict=True):
        assert floor * won + (1 - floor) * lost == pytest.approx(1)
        assert won < 1 < lost


def test_an_alarm_stays_whatever_comes() -> None:
    drift = Drift()
    labels_until_alarm(drift, 0.0, "fall")
    assert drift.alarm
    assert drift.evidence == 1
    assert all(drift.add(True) for _ in range(1000))
    assert Drift.from_state(drift.state()).alarm


@given(st.lists(st.booleans(), max_size=80), st.integers(0, 80))
def test_it_goes_on_from_its_json_as_if_nothing_had_been(labels: list[bool], cut: int) -> None:
    whole, part = Drift(0.7), Drift(0.7)
    said = [whole.add(label) for label in labels]
    for label in labels[:cut]:
        part.add(label)

    part = Drift.from_state(json.loads(json.dumps(part.state())))

    assert [part.add(label) for label in labels[cut:]] == said[cut:]
    assert part.state() == whole.state()
    assert (whole.count, whole.right) == (len(labels), sum(labels))


@given(st.lists(st.booleans(), min_size=1, max_size=80), st.integers(0, 79))
def test_a_wrong_answer_is_never_less_evidence_than_a_right_one(
    labels: list[bool], place: int
) -> None:
    one, other = Drift(), Drift()
    for at, label in enumerate(labels):
        one.add(label)
        other.add(label and at != place)
    assert other.evidence >= one.evidence


@pytest.mark.parametrize("wrong", [{"floor": 0.0}, {"floor": 1.0}, {"odds": 0.0}])
def test_limits_that_are_none_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Drift(**wrong)


def test_the_state_of_another_version_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match="tierflow judge calibrate"):
        Drift.from_state(Drift().state() | {"version": 2})
