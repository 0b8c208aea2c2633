"""A mapped step over a provider that keeps prefixes: written once, read by all others, reported."""

from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner

from tests.fakes import Billing, FakeProvider, Say
from tests.fakes.terms import TERMS
from tierflow import Answer, Prompt, llm_task

from .runs import ON_A_SERVER, cost_tables

pytestmark = ON_A_SERVER

CALLS = 12
PREFIX = "Sort the message of the customer to the desk that should answer it. " * 300


@llm_task(tier="fast", cache=None)
def sort(message: str, desk: str) -> Prompt:
    return Prompt(prefix=f"{desk} {PREFIX}", ask=message)


@llm_task(tier="fast", cache=None)
async def sort_later(message: str, desk: str) -> Prompt:
    return Prompt(prefix=f"{desk} {PREFIX}", ask=message)


@pytest.mark.parametrize("step", [sort, sort_later], ids=["sync", "async"])
def test_a_map_writes_its_prefix_once_and_says_what_that_saved(step: Any, project: Path) -> None:
    billing = Billing(TERMS)
    with FakeProvider(default=Say("refund", delay_s=0.1), billing=billing) as provider:
        _catalogue(project, provider.root_url)

        @flow(task_runner=ThreadPoolTaskRunner(max_workers=CALLS))  # type: ignore[arg-type]
        def fan_out() -> tuple[str, list[Answer[str]]]:
            from prefect.runtime import flow_run

            messages = [f"Message {number}" for number in range(CALLS)]
            answers: Any = step.answer.map(messages, step.name).result()
            return str(flow_run.id), list(answers)

        run_id, answers = fan_out()

    written = [answer for answer in answers if answer.usage.cache_write_tokens]
    read = [answer for answer in answers if answer.usage.cache_read_tokens]
    assert len(written) == 1
    assert len(read) >= CALLS - 2
    assert written[0].saved_by_prefix_usd is not None
    assert written[0].saved_by_prefix_usd < 0
    ((headline, table),) = cost_tables(run_id)
    (row, _) = table
    tally = billing.tally("claude-haiku-5-5")
    assert (row["cached_read"], row["cached_write"]) == (tally.read, tally.write)
    saved = sum(answer.saved_by_prefix_usd or 0 for answer in answers)
    assert row["saving_usd"] == pytest.approx(saved, abs=1e-6)
    assert "prompt caches of the providers took off" in headline


def _catalogue(project: Path, root_url: str) -> None:
    deployment = f'{{ model = "anthropic/claude-haiku-5-5", api_base = "{root_url}" }}'
    lines = [f"[tiers.{tier}]\ndeployments = [{deployment}]" for tier in ("fast", "frontier")]
    (project / "tierflow.toml").write_text("\n".join(lines))
