"""Rollouts of steps: what each arm shows is kept, over real sockets and in real stores."""

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.conftest import Catalogue
from tests.fakes import Fail, FakeProvider, Say
from tests.rollouts.started import answered_by, begun_at, shown
from tests.tasks.conftest import Rows
from tests.tasks.ways import Way, both_ways, plain, settled
from tierflow import Prompt, Variant, judged, record_evaluation
from tierflow.errors import AllDeploymentsFailedError, RejectedError
from tierflow.rollouts import Rollout, error_rate, quality
from tierflow.rollouts.enrolling import FAILURES
from tierflow.rollouts.observations import PairSeen
from tierflow.tasks.spec import Surroundings

CENT = Say("fast says", input_tokens=0, output_tokens=1000)
"""At $10 a million tokens out."""

STRONGER = Variant(tier="frontier")


@pytest.fixture(autouse=True)
def tiers(catalogue: Catalogue, provider: FakeProvider) -> None:
    catalogue(max_wait_s=0)
    provider.script("fast", CENT)
    provider.script("frontier", Say("frontier says", input_tokens=0, output_tokens=3000))


@pytest.fixture(params=["sqlite", "postgres"])
def kept_in(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "postgres":
        monkeypatch.setenv("TIERFLOW_STORE_URL", request.getfixturevalue("postgres_url"))


def in_run(run: str = "run") -> Callable[[Surroundings], Surroundings]:
    """A flow run that Prefect does not know: what it is told is kept in this process."""
    return lambda around: replace(
        around, where=replace(around.where, flow_run_id=run), chance=lambda: 0.0
    )


@both_ways
@pytest.mark.usefixtures("kept_in")
class TestEvidence:
    """What an arm's calls show."""

    @pytest.mark.parametrize(("arm", "cents"), [("baseline", 1), ("candidate", 3)])
    def test_an_answer_shows_time_and_cost_and_its_hit_that_it_is_one(
        self, way: Way, arm: Any, cents: int
    ) -> None:
        name = f"new-{uuid.uuid4()}"
        step = way.step(plain, rollout=answered_by(arm, name, STRONGER))
        answer, again = (step.within(in_run(), "Where?") for _ in range(2))
        asked, hit = shown(name).observations
        assert (asked.arm, asked.ref, asked.unit, asked.failed) == (arm, answer.ref, "run", False)
        assert asked.cost_usd == pytest.approx(cents / 100)
        assert asked.latency_ms == answer.latency_ms
        assert (hit.hit, hit.ref, again.cache) == (True, again.ref, "exact")

    def test_a_failure_shows_and_is_raised(self, way: Way, provider: FakeProvider) -> None:
        name = f"new-{uuid.uuid4()}"
        provider.script("frontier", Fail(503))
        step = way.step(plain, rollout=answered_by("candidate", name, STRONGER))
        said = f"The candidate of the rollout '{name}' answered."
        with pytest.raises(AllDeploymentsFailedError, match=said):
            step.within(in_run(), "Where?")
        (seen,) = shown(name).observations
        assert (seen.arm, seen.failed, seen.hit) == ("candidate", True, False)

    def test_what_is_found_of_an_answer_later_is_evidence_too(self, way: Way) -> None:
        name = f"new-{uuid.uuid4()}"
        step = way.step(plain, rollout=answered_by("candidate", name, STRONGER))
        answer = step.within(in_run(), "Where?")
        record_evaluation(answer.ref, "helpful", score=0.25)
        (seen,) = shown(name).observations
        assert seen.scores == {"helpful": 0.25}

    def test_a_tenant_is_a_unit_where_the_rollout_says_so(self, way: Way) -> None:
        name = f"new-{uuid.uuid4()}"

        def of_acme(ask: str) -> Prompt:
            return Prompt(ask=ask, tenant="acme")

        rollout = answered_by("candidate", name, STRONGER, assign_by="tenant")
        assert way.step(of_acme, rollout=rollout).within(in_run(), "Where?").tier == "frontier"
        assert [each.unit for each in shown(name).observations] == ["acme"]
        # Whose prompt it is not said is in no arm.
        assert way.step(plain, rollout=rollout).within(in_run(), "Where?").arm == ""


@both_ways
class TestSwitchedOff:
    """A candidate that fails again and again is not asked any more, by this process."""

    def test_the_baseline_answers_after_failures_in_a_row(
        self, way: Way, provider: FakeProvider
    ) -> None:
        provider.script("frontier", Fail(400))
        step = way.step(plain, rollout=answered_by("candidate", "new", STRONGER), cache=None)
        for number in range(FAILURES):
            with pytest.raises(RejectedError):
                step.within(in_run(f"run {number}"), "Where?")
        answer = step.within(in_run("another"), "Where?")
        assert (answer.value, answer.arm) == ("fast says", "new/baseline")
        # Its arm was not the luck of the draw, so it shows nothing.
        assert [each.arm for each in shown("new").observations] == ["candidate"] * FAILURES


def in_shadow(**options: Any) -> Rollout:
    given: dict[str, Any] = {
        "steps": ("shadow", 50),
        "guardrails": (error_rate(), quality("helpful")),
        "shadow_share": 1.0,
    }
    return begun_at(0.0, "new", STRONGER, **(given | options))


def the_pair() -> PairSeen:
    settled()
    (pair,) = shown("new").seen_pairs
    return pair


def outside_the_sample(around: Surroundings) -> Surroundings:
    return replace(in_run()(around), chance=lambda: 0.5)


@both_ways
class TestShadow:
    """The candidate is asked as well, and nobody waits for it."""

    def test_both_are_kept_as_a_pair_and_its_cost_is_the_shadows(
        self, way: Way, rows: Rows, calls: Rows
    ) -> None:
        answer = way.step(plain, rollout=in_shadow()).within(in_run(), "Where?")
        assert (answer.value, answer.arm, answer.cost_usd) == ("fast says", "new/baseline", 0.01)
        pair = the_pair()
        assert (pair.baseline.ref, pair.baseline.cost_usd) == (answer.ref, 0.01)
        assert (pair.candidate.arm, pair.candidate.failed) == ("candidate", False)
        assert (pair.same, pair.said) == (False, ("fast says", "frontier says"))
        assert pair.candidate.cost_usd == pytest.approx(0.03)
        costs = {row["step"]: row["cost_usd"] for row in rows()}
        assert costs == pytest.approx({"plain": 0.01, "plain (shadow)": 0.03})
        assert {row["arm"] for row in rows()} == {"new/baseline", "new/candidate"}
        assert len(calls()) == 2

    def test_equal_answers_are_the_same(self, way: Way, provider: FakeProvider) -> None:
        provider.script("frontier", CENT)
        way.step(plain, rollout=in_shadow()).within(in_run(), "Where?")
        assert the_pair().same

    def test_the_steps_evaluators_look_at_both(self, way: Way, provider: FakeProvider) -> None:
        provider.script("standard", Say({"reason": "so", "score": 0.5}))
        helpful = judged("helpful", tier="standard", rubric="Does it help?", sample=0.0)
        step = way.step(plain, rollout=in_shadow(), evaluate=[helpful])
        step.within(in_run(), "Where?")
        pair = the_pair()
        assert set(pair.baseline.scores) == set(pair.candidate.scores) == {"helpful"}
        asked = str([call.body for call in provider.calls_to("standard")])
        assert "fast says" in asked
        assert "frontier says" in asked

    def test_a_candidate_that_fails_fails_in_the_pair_alone(
        self, way: Way, provider: FakeProvider
    ) -> None:
        provider.script("frontier", Fail(400))
        answer = way.step(plain, rollout=in_shadow()).within(in_run(), "Where?")
        assert answer.value == "fast says"
        pair = the_pair()
        assert (pair.baseline.failed, pair.candidate.failed) == (False, True)

    def test_hits_and_what_is_not_in_the_sample_are_not_compared(
        self, way: Way, provider: FakeProvider
    ) -> None:
        step = way.step(plain, rollout=in_shadow(shadow_share=0.5))
        step.within(outside_the_sample, "Where?")
        assert step.within(in_run(), "Where?").cache == "exact"
        settled()
        assert shown("new").seen_pairs == []
        assert [call.model for call in provider.calls] == ["fast"]

    def test_its_own_budget_ends_it(
        self, way: Way, provider: FakeProvider, caplog: pytest.LogCaptureFixture
    ) -> None:
        step = way.step(plain, rollout=in_shadow(shadow_usd_a_day=0.02), cache=None)
        for ask in ("one", "two", "three"):
            assert step.within(in_run(), ask).value == "fast says"
            settled()
        assert len(provider.calls_to("frontier")) < 3
        assert "was not asked in the shadow" in caplog.text

    def test_its_own_rate_holds(self, way: Way, provider: FakeProvider) -> None:
        step = way.step(plain, rollout=in_shadow(shadow_rpm=1.0), cache=None)
        for ask in ("one", "two", "three"):
            step.within(in_run(), ask)
        settled()
        assert len(provider.calls_to("frontier")) == 1

    def test_a_failing_evaluator_leaves_the_pair(self, way: Way, provider: FakeProvider) -> None:
        provider.script("standard", Fail(400))
        helpful = judged("helpful", tier="standard", rubric="Does it help?", sample=0.0)
        way.step(plain, rollout=in_shadow(), evaluate=[helpful]).within(in_run(), "Where?")
        assert the_pair().candidate.scores == {}
