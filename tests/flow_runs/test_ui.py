"""What the Prefect UI shows of steps: task runs, the cost table, rollout arms."""

from collections import Counter
from typing import Any

import pytest
from prefect import flow
from prefect.client.schemas.objects import State, TaskRun

from tests.conftest import PRICES, Catalogue
from tests.fakes import Fail, FakeProvider, Say
from tests.rollouts.started import begun_at
from tierflow import Variant
from tierflow.rollouts import arm_of

from .runs import ON_A_SERVER, cost_tables, echo, judged, run_flow, run_id, shortly, task_runs, usd

pytestmark = ON_A_SERVER


class TestWhatTheUiShows:
    """Names, tags and states of task runs."""

    def only_run(self, state: State[Any]) -> TaskRun:
        (run,) = task_runs(run_id(state), 1)
        return run

    def run(self, step: Any, text: str = "a") -> TaskRun:
        return self.only_run(run_flow(lambda: step(text)))

    def test_an_answered_step(self, echoing: FakeProvider) -> None:
        run = self.run(echo)
        assert run.name.endswith(f" · fast · fast · ${usd(1, 2):.6f}")
        assert run.tags == ["cache: miss", "model: fast", "tier: fast"]
        assert run.state_name == "Answered by fast"

    def test_a_cached_step(self, echoing: FakeProvider) -> None:
        self.run(echo)
        run = self.run(echo)
        assert run.name.endswith(" · fast · fast · cached")
        assert run.tags == ["cache: exact", "model: fast", "tier: fast"]
        assert run.state_name == "Cached (exact)"
        assert len(echoing.calls) == 1

    def test_an_escalated_step(self, echoing: FakeProvider) -> None:
        echoing.script("frontier", Say({"good": True}))
        run = self.run(judged)
        assert run.tags == ["cache: miss", "escalated", "model: frontier", "tier: frontier"]
        assert run.state_name == "Escalated to frontier"

    def test_a_step_that_failed_over(self, provider: FakeProvider, catalogue: Catalogue) -> None:
        catalogue(fast=["down", "up"])
        provider.script("down", Fail(503))
        provider.script("up", Say("hello"))
        run = self.run(echo)
        assert run.tags == ["cache: miss", "failed over", "model: up", "tier: fast"]
        assert run.state_name == "Answered by fast"

    def test_an_unpriced_step(self, provider: FakeProvider, catalogue: Catalogue) -> None:
        path = catalogue()
        listed = path.read_text(encoding="utf-8")
        prices = "".join(f", {name} = {price}" for name, price in PRICES.items())
        assert prices in listed
        path.write_text(listed.replace(prices, ""), encoding="utf-8")
        provider.script("fast", Say("hello"))
        state = run_flow(lambda: echo("a"))
        run = self.only_run(state)
        assert run.name.endswith(" · unpriced")
        assert "unpriced" in run.tags
        ((headline, (*_, total)),) = cost_tables(run_id(state))
        assert total["unpriced"] == 1
        assert "1 call without a known price" in headline


class TestCostTable:
    """The artifact at the end of a flow run."""

    def test_its_totals_are_what_the_provider_billed(
        self, provider: FakeProvider, catalogue: Catalogue
    ) -> None:
        catalogue()
        cheap = Say("no JSON", input_tokens=100, output_tokens=10)
        strong = Say({"good": True}, input_tokens=200, output_tokens=20)
        provider.script("fast", cheap)
        provider.script("frontier", strong)
        state = run_flow(lambda: judged.map(["a", "b"]).result())
        ((headline, (row, total)),) = cost_tables(run_id(state))
        billed = Counter(call.model for call in provider.calls)
        # Each step: the cheap reply, its repair, and the strong one.
        assert billed == {"fast": 4, "frontier": 2}
        input_tokens, output_tokens = 4 * 100 + 2 * 200, 4 * 10 + 2 * 20
        assert (total["input_tokens"], total["output_tokens"]) == (input_tokens, output_tokens)
        assert total["cost_usd"] == pytest.approx(usd(input_tokens, output_tokens), abs=1e-6)
        assert total["escalations"] == 2
        assert total["strongest_usd"] == pytest.approx(2 * usd(200, 20), abs=1e-6)
        assert {**row, "step": "total"} == total
        assert f"the same tokens at the strongest tier's price: ${2 * usd(200, 20):.4f}" in headline

    def test_a_failed_flow_still_gets_it(self, echoing: FakeProvider) -> None:
        @flow
        def breaks() -> None:
            echo("a")
            raise ValueError("after the answer was paid for")

        state = breaks(return_state=True)
        assert state.is_failed()
        ((_, (*_, total)),) = cost_tables(run_id(state))
        assert (total["calls"], total["cost_usd"]) == (1, pytest.approx(usd(1, 2), abs=1e-6))

    def test_a_failed_step_is_in_it_with_what_was_paid(
        self, provider: FakeProvider, catalogue: Catalogue
    ) -> None:
        catalogue()
        for model in ("fast", "frontier"):
            provider.script(model, Say("no JSON", input_tokens=100, output_tokens=10))
        state = run_flow(lambda: judged("a"))
        assert state.is_failed()
        ((_, (*_, total)),) = cost_tables(run_id(state))
        assert (total["failed_steps"], len(provider.calls)) == (1, 4)
        assert total["cost_usd"] == pytest.approx(4 * usd(100, 10), abs=1e-6)

    def test_a_flow_without_steps_gets_none(self, echoing: FakeProvider) -> None:
        state = run_flow(lambda: 1)
        assert cost_tables(run_id(state)) == []


class TestRollouts:
    """A flow run is one unit."""

    def ask(self, step: Any) -> Any:
        return run_flow(lambda: step("a")).result()

    def test_all_steps_of_a_run_have_the_same_arm_and_show_it(self, echoing: FakeProvider) -> None:
        rollout = begun_at(0.5, "halves", Variant(tier="standard"))
        step = echo.with_options(rollout=rollout, cache=None)
        for _ in range(3):
            state = run_flow(lambda: step.map(["a", "b", "c"]).result())
            runs = task_runs(run_id(state), 3)
            (arm,) = {tag for run in runs for tag in run.tags if tag.startswith("arm: ")}
            assert arm == f"arm: halves/{arm_of('halves', str(run_id(state)), 0.5)}"
            tier = "standard" if arm.endswith("candidate") else "fast"
            assert {f"tier: {tier}" in run.tags for run in runs} == {True}

    def test_the_arms_never_share_answers(self, echoing: FakeProvider) -> None:
        # The candidate changes nothing, so that nothing but the arm tells the requests apart.
        for weight in (0.0, 1.0, 0.0, 1.0):
            assert self.ask(echo.with_options(rollout=begun_at(weight, "same"))) == "re: a"
        assert len(echoing.calls) == 2

    @pytest.mark.parametrize(("weight", "asked"), [(0.0, "a"), (1.0, "short a")])
    def test_the_candidates_prompt_is_asked_in_its_arm_only(
        self, echoing: FakeProvider, weight: float, asked: str
    ) -> None:
        shorter = begun_at(weight, "shorter", Variant(prompt=shortly))
        assert self.ask(echo.with_options(rollout=shorter)) == f"re: {asked}"
