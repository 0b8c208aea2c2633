"""A batch as the Prefect server sees it: one task run, its name, its progress, its retries."""

import asyncio
from typing import Any, cast

import pytest
from prefect import flow, task, unmapped

from tests.fakes import Fail, FakeProvider, Say
from tests.fakes.steps import Step
from tierflow import Prompt, llm_task
from tierflow.errors import BatchError
from tierflow.tracing import batch_progress
from tierflow.tracing.report import usd as shown

from .runs import (
    ON_A_SERVER,
    artifacts,
    cost_tables,
    echo,
    echo_later,
    run_flow,
    run_id,
    said,
    task_runs,
    usd,
)

pytestmark = ON_A_SERVER

TEXTS = [f"text {number}" for number in range(8)]


@llm_task(tier="fast")
def translate(text: str, to: list[str], style: str = "plain") -> Prompt:
    return Prompt(prefix=f"{to} {style}", ask=text)


@task
def fetched() -> list[str]:
    return TEXTS


class TestBatchInAFlow:
    """Called, submitted, awaited."""

    def test_it_is_one_task_run_named_after_what_it_did(self, echoing: FakeProvider) -> None:
        run_flow(lambda: echo("text 0"))
        state = run_flow(lambda: echo.batch(TEXTS))
        assert state.result() == [f"re: {text}" for text in TEXTS]
        (run,) = task_runs(run_id(state), 1)
        assert run.name.startswith("echo batch")
        assert run.name.endswith(f" · 8 items · {shown(7 * usd(2, 3))}")
        assert run.state_name == "Answered 8, 1 from the cache"
        assert {"tier: fast", "model: fast", "cache: miss", "cache: exact"} <= set(run.tags)
        ((headline, (row, _)),) = cost_tables(run_id(state))
        assert (row["calls"], row["exact_hits"]) == (8, 1)
        assert headline.startswith("8 calls, 1 from the cache")

    def test_a_name_made_of_one_items_arguments_is_not_the_batchs(
        self, echoing: FakeProvider
    ) -> None:
        named = echo.with_options(task_run_name="echo {text}")
        state = run_flow(lambda: named.batch(TEXTS))
        assert len(state.result()) == len(TEXTS)
        (run,) = task_runs(run_id(state), 1)
        assert run.name.startswith("echo batch")

    def test_an_async_step_is_awaited(self, echoing: FakeProvider) -> None:
        @flow
        async def body() -> list[str]:
            return await echo_later.batch(TEXTS)

        assert asyncio.run(body()) == [f"re: {text}" for text in TEXTS]

    @pytest.mark.parametrize("wait_inside", [False, True])
    def test_it_takes_what_other_tasks_return(
        self, echoing: FakeProvider, *, wait_inside: bool
    ) -> None:
        def body() -> Any:
            texts: Any = cast("Any", fetched).submit()
            batch: Any = echo.batch
            return batch.submit(texts.result() if wait_inside else texts).result()

        assert run_flow(body).result() == [f"re: {text}" for text in TEXTS]

    def test_what_is_unmapped_or_left_out_is_the_same_for_all(self, echoing: FakeProvider) -> None:
        state = run_flow(lambda: translate.batch(TEXTS, unmapped(["de", "fr"])))
        assert len(state.result()) == len(TEXTS)
        prefixes = {str(call.body["messages"][0]["content"]) for call in echoing.calls}
        assert prefixes == {"['de', 'fr'] plain"}

    def test_lists_of_different_lengths_are_refused(self, echoing: FakeProvider) -> None:
        state = run_flow(lambda: translate.batch(TEXTS, to=["de", "fr"]))
        assert state.is_failed()
        assert not echoing.calls

    def test_a_retry_asks_only_for_what_is_missing(self, echoing: FakeProvider) -> None:
        failed: list[str] = []

        def once(body: dict[str, Any]) -> Step:
            text = str(body["messages"][-1]["content"])
            if text == TEXTS[3] and not failed:
                failed.append(text)
                return Fail(500)
            return said(body)

        echoing.script("fast", once)
        state = run_flow(lambda: echo.with_options(retries=1).batch(TEXTS))
        assert state.result() == [f"re: {text}" for text in TEXTS]
        assert len(echoing.calls) == len(TEXTS) + 1

    def test_without_an_answer_the_flow_fails_with_the_others_values(
        self, echoing: FakeProvider
    ) -> None:
        echoing.script("fast", lambda body: Fail(400) if "3" in str(body) else said(body))
        state = run_flow(lambda: echo.with_options(retries=3).batch(TEXTS))
        with pytest.raises(BatchError, match="1 of 8 items") as caught:
            state.result()
        assert caught.value.values[0] == "re: text 0"
        assert len(echoing.calls) == len(TEXTS)


class TestProgress:
    """The artifact of a batch that takes its time."""

    def test_a_long_batch_shows_how_far_it_is(
        self, echoing: FakeProvider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(batch_progress, "_EVERY_S", 0.05)
        monkeypatch.setenv("TIERFLOW_BATCH__CONCURRENCY", "2")
        echoing.script("fast", _slowly)
        state = run_flow(lambda: echo.batch(TEXTS))
        (bar,) = artifacts(run_id(state), "progress")
        assert bar.data == 100.0
        assert bar.description == "echo: 8 of 8 items"
        assert bar.key == "tierflow-echo-batch"

    def test_a_short_one_shows_none(self, echoing: FakeProvider) -> None:
        state = run_flow(lambda: echo.batch(TEXTS))
        assert artifacts(run_id(state), "progress") == []


def _slowly(body: dict[str, Any]) -> Say:
    return Say(f"re: {body['messages'][-1]['content']}", delay_s=0.3)
