"""Assignment: which arm a unit gets, the same everywhere and monotone in the weight."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.rollouts import arm_of, position

names = st.text(max_size=20)
weights = st.floats(0, 1)


@given(names, names, weights, weights)
def test_a_unit_that_has_the_candidate_keeps_it_while_the_weight_grows(
    name: str, unit: str, one: float, other: float
) -> None:
    low, high = sorted((one, other))

    if arm_of(name, unit, low) == "candidate":
        assert arm_of(name, unit, high) == "candidate"


@given(names, names)
def test_a_weight_of_0_has_no_candidates_and_one_of_1_only_those(name: str, unit: str) -> None:
    assert arm_of(name, unit, 0.0) == "baseline"
    assert arm_of(name, unit, 1.0) == "candidate"


@given(names, names)
def test_a_position_lies_from_0_to_below_1(name: str, unit: str) -> None:
    assert 0 <= position(name, unit) < 1


@pytest.mark.parametrize("weight", [0.05, 0.3, 0.5])
def test_about_the_weight_of_units_gets_the_candidate(weight: float) -> None:
    units = [f"run {n}" for n in range(10_000)]

    got = sum(arm_of("shorter prompt", unit, weight) == "candidate" for unit in units)

    # Four standard deviations; the units are fixed, so this holds for ever or never.
    assert abs(got - weight * 10_000) < 4 * (10_000 * weight * (1 - weight)) ** 0.5


def test_two_rollouts_choose_independently() -> None:
    units = [f"run {n}" for n in range(10_000)]

    both = sum(
        arm_of("one", unit, 0.5) == arm_of("two", unit, 0.5) == "candidate" for unit in units
    )

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
