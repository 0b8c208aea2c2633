"""An exhausted budget as the Prefect server sees it: no retries, one event a run, a failed task."""

import time
from typing import Any
from uuid import UUID

from prefect import unmapped
from prefect.client.orchestration import get_client
from prefect.events.filters import EventFilter, EventNameFilter

from tests.fakes import FakeProvider, Say
from tierflow import Prompt, Sampling, llm_task
from tierflow.errors import BudgetExhaustedError

from .runs import ON_A_SERVER, PATIENCE_S, cost_tables, run_flow, run_id, task_runs

pytestmark = ON_A_SERVER

CENT = Say("yes", input_tokens=0, output_tokens=1000)


@llm_task(
    tier="fast",
    sampling=Sampling(temperature=0, max_tokens=1000),
    budget_usd=0.035,
    retries=3,
    retry_delay_seconds=0,
)
def dear(text: str, style: str = "plain") -> Prompt:
    return Prompt(prefix=style, ask=text)


def events(flow_run_id: UUID) -> list[Any]:
    """The events of a run about its budgets, once the server has taken them in."""
    only = EventFilter(event=EventNameFilter(name=["tierflow.budget-exhausted"]))
    until = time.monotonic() + PATIENCE_S
    with get_client(sync_client=True) as client:
        while time.monotonic() < until:
            found = [
                each
                for each in client.read_events(filter=only, limit=50).events
                if any(str(flow_run_id) in str(related) for related in each.related)
            ]
            if found:
                return found
            time.sleep(0.2)
    return []


def test_a_run_ends_where_its_budget_does_and_says_so_once(
    echoing: FakeProvider,
) -> None:
    echoing.script("fast", CENT)

    def spend() -> list[Any]:
        asking = dear.map(list("abcdef"), unmapped("short"))
        asking.wait()
        return [each.state for each in asking]

    state = run_flow(spend)

    assert state.is_failed()
    runs = task_runs(run_id(state), 6)
    assert sorted(str(run.state_type and run.state_type.value) for run in runs) == [
        *["COMPLETED"] * 3,
        *["FAILED"] * 3,
    ]
    # Nothing is repeated that would only come again.
    assert {run.run_count for run in runs} == {1}
    assert len(echoing.calls) == 3
    (event,) = events(run_id(state))
    assert event.resource.name == "dear"
    assert "$0.035 a run, step 'dear' is exhausted" in event.payload["message"]
    ((_, rows),) = cost_tables(run_id(state))
    assert rows[-1]["cost_usd"] == 0.03


def test_the_error_comes_out_of_the_flow_as_itself(echoing: FakeProvider) -> None:
    echoing.script("fast", CENT)

    def spend() -> None:
        for text in "ghij":
            dear(text)

    state = run_flow(spend)

    error = (
        state.data if isinstance(state.data, Exception) else state.result(raise_on_failure=False)
    )
    assert isinstance(error, BudgetExhaustedError)
    assert (error.limit_usd, round(error.spent_usd, 6)) == (0.035, 0.03)
