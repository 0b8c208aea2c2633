"""However a step is started, its caller gets the value; options of Prefect work."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, task
from prefect.cache_policies import INPUTS
from prefect.client.schemas.objects import State
from prefect.context import TaskRunContext
from prefect.runtime import flow_run
from prefect.settings import (
    PREFECT_LOCAL_STORAGE_PATH,
    temporary_settings,
)
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner

from tests.conftest import Catalogue
from tests.fakes import Fail, FakeProvider, Hang, Say
from tierflow import Answer
from tierflow.errors import AllDeploymentsFailedError, RejectedError

from .runs import (
    ON_A_SERVER,
    ask_all,
    cost_tables,
    echo,
    echo_later,
    run_flow,
    run_id,
    usd,
)

pytestmark = ON_A_SERVER


class TestWaysOfCalling:
    """However a step is started, its caller gets the value."""

    def test_a_sync_flow_gets_values_and_never_states(self, echoing: FakeProvider) -> None:
        step: Any = echo

        @flow
        def calls() -> list[Any]:
            return [
                echo("a"),
                step.submit("b").result(),
                *echo.map(["c", "d"]).result(),
                echo.with_options(tier="frontier")("e"),
                *echo_later.map(["f"]).result(),
            ]

        assert calls() == [f"re: {letter}" for letter in "abcdef"]
        assert len(echoing.calls) == 6

    async def test_an_async_flow_gets_values_and_never_states(self, echoing: FakeProvider) -> None:
        step: Any = echo
        step_later: Any = echo_later

        @flow
        async def calls() -> list[Any]:
            return [
                await echo_later("a"),
                step_later.submit("b").result(),
                echo("c"),
                step.submit("d").result(),
                *await asyncio.gather(echo_later("e"), echo_later("f")),
            ]

        assert await calls() == [f"re: {letter}" for letter in "abcdef"]
        assert len(echoing.calls) == 6

    async def test_return_state_gives_the_state(self, echoing: FakeProvider) -> None:
        @flow
        async def calls() -> list[Any]:
            step: Any = echo
            step_later: Any = echo_later
            states = [step("a", return_state=True), await step_later("b", return_state=True)]
            states += step.map(["c"], return_state=True)
            return [isinstance(each, State) and await each.aresult() for each in states]

        assert await calls() == ["re: a", "re: b", "re: c"]

    def test_answer_gives_the_whole_answer_in_every_way(self, echoing: FakeProvider) -> None:
        @flow
        def calls() -> list[Answer[str]]:
            step: Any = echo.answer
            return [step("a"), step.submit("b").result(), *step.map(["c", "d"]).result()]

        answers = calls()
        assert [answer.value for answer in answers] == ["re: a", "re: b", "re: c", "re: d"]
        assert {(answer.tier, answer.model, answer.cache) for answer in answers} == {
            ("fast", "fast", "miss")
        }
        assert [answer.cost_usd for answer in answers] == pytest.approx(4 * [usd(1, 2)])

    @pytest.mark.parametrize("runner", [ThreadPoolTaskRunner, ProcessPoolTaskRunner])
    def test_a_step_runs_on_any_task_runner(self, echoing: FakeProvider, runner: Any) -> None:
        texts = [f"t{number}" for number in range(4)]
        on_runner: Any = ask_all.with_options(task_runner=runner(max_workers=2))
        state = on_runner(texts, return_state=True)
        assert state.result() == [f"re: {text}" for text in texts]
        ((_, (*_, total)),) = cost_tables(run_id(state))
        assert total["calls"] == len(echoing.calls) == 4

    def test_a_subflow_has_a_cost_table_of_its_own(self, echoing: FakeProvider) -> None:
        ids: list[str] = []

        @flow
        def inner() -> str:
            ids.append(str(flow_run.get_id()))
            return echo("inside")

        @flow
        def outer() -> str:
            ids.append(str(flow_run.get_id()))
            return echo(inner())

        assert outer() == "re: re: inside"
        for each in ids:
            ((_, (*_, total)),) = cost_tables(each)
            assert total["calls"] == 1


class TestTaskOptions:
    """Prefect's own options work on a step."""

    def test_retries_run_the_step_again_after_all_deployments_failed(
        self, provider: FakeProvider, catalogue: Catalogue
    ) -> None:
        catalogue()
        provider.script("fast", [Fail(503), Say("at last")])

        @flow
        def calls() -> str:
            return echo.with_options(retries=1)("a")

        assert calls() == "at last"
        assert len(provider.calls) == 2

    def test_prefects_result_cache_never_mixes_up_tiers_and_shapes(
        self, provider: FakeProvider, catalogue: Catalogue, project: Path
    ) -> None:
        catalogue()
        provider.script("fast", Say("from fast"))
        provider.script("frontier", Say("from frontier"))
        kept = echo.with_options(cache_policy=INPUTS, persist_result=True)

        @flow
        def calls() -> tuple[Any, ...]:
            first, again = kept("b"), kept("b")
            return first, again, kept.with_options(tier="frontier")("b"), kept.answer("b").text

        # By itself Prefect keeps results in the user's home, from one test run to the next.
        with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: project / "results"}):
            assert calls() == ("from fast", "from fast", "from frontier", "from fast")

    def test_a_steps_function_inside_another_task_is_just_a_function(
        self, echoing: FakeProvider
    ) -> None:
        names: list[str] = []

        @task(name="outer")
        def outer() -> Any:
            said = echo.fn("a")
            context = TaskRunContext.get()
            names.append(context.task_run.name if context else "")
            return said

        @flow
        def calls() -> Any:
            return outer()

        assert isinstance(calls(), str)
        assert names[0].startswith("outer")
        assert " · " not in names[0]

    def test_retries_are_not_spent_on_what_would_only_fail_again(
        self, provider: FakeProvider, catalogue: Catalogue
    ) -> None:
        catalogue()
        provider.script("fast", Fail(400, "no such option"))
        state = run_flow(lambda: echo.with_options(retries=3)("a"))
        with pytest.raises(RejectedError):
            state.result()
        assert len(provider.calls) == 1

    def test_without_retries_the_failure_reaches_the_caller(
        self, provider: FakeProvider, catalogue: Catalogue
    ) -> None:
        catalogue()
        provider.script("fast", Fail(503))
        state = run_flow(lambda: echo("a"))
        assert state.is_failed()
        with pytest.raises(AllDeploymentsFailedError):
            state.result()

    def test_hooks_see_the_state_that_names_the_tier(self, echoing: FakeProvider) -> None:
        seen: list[str | None] = []

        def note(_task: Any, _run: Any, state: State[Any]) -> None:
            seen.append(state.name)

        @flow
        def calls() -> str:
            return echo.with_options(on_completion=[note])("a")

        calls()
        assert seen == ["Answered by fast"]

    async def test_a_timeout_ends_an_async_step(
        self, provider: FakeProvider, catalogue: Catalogue
    ) -> None:
        catalogue()
        provider.script("fast", Hang(60))

        @flow
        async def calls() -> bool:
            impatient: Any = echo_later.with_options(timeout_seconds=0.5)
            state = await impatient("a", return_state=True)
            return bool(state.name == "TimedOut")

        assert await calls()

    def test_prefects_result_cache_can_be_had_as_well(
        self, echoing: FakeProvider, tmp_path: Path
    ) -> None:
        stored = echo.with_options(cache_policy=INPUTS, persist_result=True, cache=None)

        @flow
        def calls() -> list[Any]:
            return [stored("a"), stored("a"), stored("a", return_state=True).name]

        with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: tmp_path}):
            assert calls() == ["re: a", "re: a", "Cached"]
        assert len(echoing.calls) == 1
