"""Enrolling: what a process does with rollouts, and when it switches a candidate off itself."""

import pytest

from tests.rollouts.test_pins import Runs
from tierflow.rollouts.enrolling import FAILURES, Enrolling
from tierflow.rollouts.enrolment import Enrol, MayShadow, Observe
from tierflow.rollouts.observations import Arm, Observation, PairSeen
from tierflow.rollouts.pins import Pins
from tierflow.rollouts.state import RolloutState
from tierflow.rollouts.verbs import promote

from .observed import NOW, a_rollout, begun

ROLLOUT = a_rollout()


class Followed:
    """What is known of one rollout, and what was seen of it."""

    def __init__(self, state: RolloutState | None) -> None:
        self.state = state
        self.seen: list[Observation] = []

    def known(self, rollout: str) -> RolloutState | None:
        return self.state if rollout == ROLLOUT.name else None

    def observe(self, rollout: str, seen: list[Observation]) -> None:
        del rollout
        self.seen += seen

    def pair(self, rollout: str, pair: PairSeen) -> None:
        del rollout, pair

    def score(self, rollout: str, ref: str, evaluation: str, score: float) -> None:
        del rollout, ref, evaluation, score

    def close(self) -> None: ...


class Site:
    """An Enrolling with its surroundings, on a clock of its own."""

    def __init__(self, state: RolloutState | None = None) -> None:
        self.now = 0.0
        self.followed = Followed(begun(ROLLOUT) if state is None else state)
        self.enrolling = Enrolling(self.followed, Pins(Runs()), lambda: self.now)

    def sees(self, *, failed: bool, arm: Arm = "candidate") -> bool:
        state = self.followed.state
        assert state is not None
        seen = Observation("run", arm, state.epoch, "ref", NOW, failed=failed)
        return self.enrolling.observe(Observe(ROLLOUT.name, seen))

    def is_off(self) -> bool:
        footing = self.enrolling.enrol(Enrol(ROLLOUT.name, "run"))
        assert footing is not None
        return footing.is_off


def test_what_nobody_started_has_no_arms() -> None:
    site = Site()
    assert site.enrolling.enrol(Enrol("another", "run")) is None
    site.followed.state = RolloutState(rollout=ROLLOUT.name)
    assert site.enrolling.enrol(Enrol(ROLLOUT.name, "run")) is None


def test_failures_in_a_row_switch_the_candidate_off_once() -> None:
    site = Site()
    told = [site.sees(failed=True) for _ in range(FAILURES + 2)]
    assert told == [False] * (FAILURES - 1) + [True, False, False]
    assert site.is_off()


@pytest.mark.parametrize("between", ["a success", "the baseline's"])
def test_only_the_candidates_own_failures_in_a_row_count(between: str) -> None:
    site = Site()
    for _ in range(FAILURES - 1):
        site.sees(failed=True)
    if between == "a success":
        site.sees(failed=False)
        site.sees(failed=True)
    else:
        site.sees(failed=True, arm="baseline")
    assert not site.is_off()


def test_it_is_on_again_when_the_rollout_moves_on() -> None:
    site = Site()
    for _ in range(FAILURES):
        site.sees(failed=True)
    assert site.is_off()
    assert site.followed.state is not None
    site.followed.state = promote(ROLLOUT, site.followed.state, "me", NOW)
    assert not site.is_off()


def test_all_that_is_seen_is_kept() -> None:
    site = Site()
    site.sees(failed=True)
    site.sees(failed=False, arm="baseline")
    assert [(each.arm, each.failed) for each in site.followed.seen] == [
        ("candidate", True),
        ("baseline", False),
    ]


def test_the_shadow_has_a_rate_of_its_own() -> None:
    site, ask = Site(), MayShadow(ROLLOUT.name, 60.0)
    assert [site.enrolling.may_shadow(ask) for _ in range(12)] == [True] * 10 + [False] * 2
    site.now = 3.0
    assert [site.enrolling.may_shadow(ask) for _ in range(4)] == [True] * 3 + [False]
