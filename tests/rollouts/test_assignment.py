"""Assignment: which arm a unit gets, the same everywhere and monotone in the share."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow import Rollout, Variant
from tierflow.rollouts import position

names = st.text(max_size=20)
shares = st.floats(0, 1)


def a_rollout(name: str, share: float) -> Rollout:
    return Rollout(name, Variant(), share)


@given(names, names, shares, shares)
def test_a_unit_that_has_the_candidate_keeps_it_while_the_share_grows(
    name: str, unit: str, one: float, other: float
) -> None:
    low, high = sorted((one, other))

    if a_rollout(name, low).arm_of(unit) == "candidate":
        assert a_rollout(name, high).arm_of(unit) == "candidate"


@given(names, names)
def test_a_share_of_nothing_has_no_candidates_and_a_share_of_all_only_those(
    name: str, unit: str
) -> None:
    assert a_rollout(name, 0).arm_of(unit) == "baseline"
    assert a_rollout(name, 1).arm_of(unit) == "candidate"


@given(names, names)
def test_a_position_lies_from_0_to_below_1(name: str, unit: str) -> None:
    assert 0 <= position(name, unit) < 1


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5])
def test_about_the_share_of_units_gets_the_candidate(share: float) -> None:
    rollout, units = a_rollout("shorter prompt", share), [f"run {n}" for n in range(10_000)]

    got = sum(rollout.arm_of(unit) == "candidate" for unit in units)

    # Four standard deviations; the units are fixed, so this holds for ever or never.
    assert abs(got - share * 10_000) < 4 * (10_000 * share * (1 - share)) ** 0.5


def test_two_rollouts_choose_independently() -> None:
    one, two = a_rollout("one", 0.5), a_rollout("two", 0.5)
    units = [f"run {n}" for n in range(10_000)]

    both = sum(one.arm_of(unit) == two.arm_of(unit) == "candidate" for unit in units)

    assert abs(both - 2_500) < 4 * (10_000 * 0.25 * 0.75) ** 0.5


def test_a_position_never_changes_between_versions() -> None:
    assert position("shorter prompt", "run 1") == 0.19727425091147355


def test_every_process_assigns_alike() -> None:
    program = (
        "from tierflow.rollouts import position\n"
        "print([position('shorter prompt', f'run {n}') for n in range(20)])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in "12"
    }

    assert said == {f"{[position('shorter prompt', f'run {n}') for n in range(20)]}\n"}


@pytest.mark.parametrize("share", [-0.01, 1.01, 5, float("nan")])
def test_a_share_outside_0_to_1_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=r"must be between 0 and 1 \(0.05 is 5 %\)"):
        a_rollout("shorter prompt", share)
