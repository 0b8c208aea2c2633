"""Budgets of steps: the call that would break one is not made, whatever it was for."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Catalogue
from tests.fakes import BreakStream, FakeProvider, Say
from tests.tasks.conftest import Rows
from tests.tasks.ways import Step, Way, both_ways, plain, run_async, settled
from tests.tasks.world import World, a_spec
from tierflow import Answer, Cascade, Chunk, Prompt, Sampling, agreement, judged, llm_task, schema
from tierflow.errors import BatchError, BudgetExhaustedError, ConfigError, PromptError
from tierflow.routing.budgets import Balance
from tierflow.tasks import hands
from tierflow.tasks.aside import Aside
from tierflow.tasks.plan import begun
from tierflow.tasks.spec import Surroundings

DAY_S = 86_400.0
NOON = 1_796_040_000.0
BOUNDED = Sampling(temperature=0, max_tokens=1000)
"""At $10 a million tokens out, a call is likely to cost a cent, and a little for its prompt."""

CENT = Say("yes", input_tokens=0, output_tokens=1000)


def refuses(_value: str) -> bool:
    return False


@pytest.fixture
def budgeted(catalogue: Catalogue, provider: FakeProvider) -> Callable[[str], None]:
    """Write a catalogue whose calls cost a cent, and budgets after it."""

    def write(budgets: str = "", **tiers: list[str]) -> None:
        path = catalogue(max_wait_s=0.5, **tiers)
        path.write_text(f"{path.read_text()}\n{budgets}")
        for name in (
            "fast",
            "standard",
            "frontier",
            *(each for names in tiers.values() for each in names),
        ):
            provider.script(name, CENT)

    return write


def in_run(step: Step, run: str, ask: str, *, at: float = NOON, flow: str = "inbox") -> Answer[Any]:
    """Run a step within a flow run, at a time."""

    def change(around: Surroundings) -> Surroundings:
        where = replace(around.where, flow_run_id=run, flow=flow)
        return replace(around, where=where, now=lambda: at)

    return step.within(change, ask)


def balances() -> list[Balance]:
    """How accounts stand in the store."""
    spending: Any = hands().spending
    return list(spending._opened().balances())


@both_ways
def test_a_step_spends_so_much_a_flow_run_and_no_more(
    way: Way, budgeted: Callable[..., None], provider: FakeProvider
) -> None:
    budgeted()
    step = way.step(plain, sampling=BOUNDED, budget_usd=0.025)
    for ask in ("one", "two"):
        assert in_run(step, "monday", ask).cost_usd == 0.01

    with pytest.raises(BudgetExhaustedError) as caught:
        in_run(step, "monday", "three")

    assert len(provider.calls) == 2
    told = str(caught.value)
    for text in ("$0.025 a run, step 'plain'", "$0.02 of $0.025 spent", "Raise budget_usd"):
        assert text in told
    assert "three" not in told
    # Another run has its own, and so has each call outside of one.
    in_run(step, "tuesday", "three")
    for ask in "abc":
        step(ask)


@both_ways
def test_what_was_spent_is_what_the_ledger_says(
    way: Way, budgeted: Callable[..., None], rows: Rows
) -> None:
    budgeted("[[budgets]]\nusd = 1.0\nper = 'day'")
    step = way.step(
        plain, sampling=BOUNDED, cascade=Cascade("frontier", schema(refuses), max_loss=None)
    )

    in_run(step, "run", "one")

    (row,), (balance,) = rows(), balances()
    assert row["cost_usd"] == pytest.approx(0.02)
    assert (balance.spent, balance.held) == (row["cost_usd"], 0.0)
    assert balance.window == "2026-11-30"


@both_ways
def test_a_rejected_cheap_reply_is_not_returned_because_the_budget_is_exhausted(
    way: Way, budgeted: Callable[..., None], provider: FakeProvider, rows: Rows
) -> None:
    budgeted()
    cascade = Cascade("frontier", schema(refuses), max_loss=None)
    step = way.step(plain, sampling=BOUNDED, cascade=cascade, budget_usd=0.015)

    with pytest.raises(BudgetExhaustedError):
        in_run(step, "run", "one")

    assert [call.model for call in provider.calls] == ["fast"]
    (row,) = rows()
    assert (row["outcome"], row["cost_usd"]) == ("BudgetExhaustedError", 0.01)


@both_ways
def test_judges_are_paid_from_the_steps_budget_too(
    way: Way, budgeted: Callable[..., None], provider: FakeProvider
) -> None:
    budgeted()
    cascade = Cascade("frontier", agreement("standard"), max_loss=None)
    options: dict[str, Any] = {"sampling": BOUNDED, "cascade": cascade, "cache": None}

    with pytest.raises(BudgetExhaustedError):
        in_run(way.step(plain, budget_usd=0.015, **options), "run", "one")
    assert [call.model for call in provider.calls] == ["fast"]

    in_run(way.step(plain, budget_usd=0.03, **options), "another", "one")
    assert [call.model for call in provider.calls] == ["fast", "fast", "standard"]


@both_ways
def test_a_repair_is_paid_from_it_too(
    way: Way, budgeted: Callable[..., None], provider: FakeProvider
) -> None:
    budgeted()
    step = way.step(plain, sampling=BOUNDED, returns=int, budget_usd=0.015)

    with pytest.raises(BudgetExhaustedError):
        in_run(step, "run", "one")

    assert len(provider.calls) == 1


@both_ways
def test_what_the_cache_has_costs_nothing_and_passes(
    way: Way, budgeted: Callable[..., None], provider: FakeProvider
) -> None:
    budgeted("[[budgets]]\nusd = 0.015\nper = 'day'")
    step = way.step(plain, sampling=BOUNDED)
    in_run(step, "run", "one")
    with pytest.raises(BudgetExhaustedError):
        in_run(step, "run", "two")

    assert in_run(step, "run", "one").cache == "exact"
    assert len(provider.calls) == 1


@both_ways
@pytest.mark.parametrize(("per", "days"), [("day", 1), ("month", 31)])
def test_the_next_window_has_new_money(
    way: Way, budgeted: Callable[..., None], per: str, days: int
) -> None:
    budgeted(f"[[budgets]]\nusd = 0.015\nper = '{per}'")
    step = way.step(plain, sampling=BOUNDED)
    in_run(step, "one", "one")
    with pytest.raises(BudgetExhaustedError, match=f"wait for the next {per}"):
        in_run(step, "two", "two")

    in_run(step, "two", "two", at=NOON + days * DAY_S)
    assert len({each.window for each in balances()}) == 2


@both_ways
def test_each_tenant_has_a_budget_of_its_own(way: Way, budgeted: Callable[..., None]) -> None:
    budgeted("[[budgets]]\nusd = 0.015\nper = 'day'\neach = 'tenant'")

    def of(ask: str) -> Prompt:
        return Prompt(ask=ask, tenant=ask.partition(" ")[0])

    step = way.step(of, sampling=BOUNDED)
    step("acme one")
    step("other one")
    with pytest.raises(BudgetExhaustedError, match=r"each tenant \(acme\)"):
        step("acme two")


@both_ways
def test_a_budget_of_another_flow_or_step_does_not_hold(
    way: Way, budgeted: Callable[..., None]
) -> None:
    budgeted(
        "[[budgets]]\nusd = 0.001\nper = 'day'\nflow = 'nightly'\n"
        "[[budgets]]\nusd = 0.001\nper = 'day'\nstep = 'digest'"
    )
    step = way.step(plain, sampling=BOUNDED)

    in_run(step, "run", "one")
    with pytest.raises(BudgetExhaustedError, match="flow 'nightly'"):
        in_run(step, "run", "two", flow="nightly")


@both_ways
def test_a_deployment_whose_budget_is_gone_is_passed_by(
    way: Way, budgeted: Callable[..., None], provider: FakeProvider
) -> None:
    budgeted("[[budgets]]\nusd = 0.015\nper = 'day'\ndeployment = 'openai/a'", fast=["a", "b"])
    step = way.step(plain, sampling=BOUNDED)
    step("one")
    step("two")

    assert [call.model for call in provider.calls] == ["a", "b"]


@both_ways
def test_a_model_without_a_price_is_refused_before_any_call(
    way: Way, budgeted: Callable[..., None], project: Path, provider: FakeProvider
) -> None:
    budgeted("[[budgets]]\nusd = 1.0\nper = 'day'")
    path = project / "tierflow.toml"
    price = ", input_usd_per_mtok = 1.0, output_usd_per_mtok = 10.0"
    path.write_text(path.read_text().replace(price, "", 1))

    with pytest.raises(ConfigError, match=r"openai/fast.* no known price.*input_usd_per_mtok"):
        way.step(plain)("one")

    assert provider.calls == ()


@both_ways
def test_what_had_arrived_of_a_stream_that_was_left_is_booked(
    way: Way, budgeted: Callable[..., None], provider: FakeProvider, rows: Rows
) -> None:
    budgeted("[[budgets]]\nusd = 1.0\nper = 'day'")
    provider.script("fast", BreakStream(2, "one two three"))

    def leave(_: Chunk) -> None:
        raise RuntimeError("gone")

    with pytest.raises(RuntimeError):
        way.step(plain, on_chunk=leave)("one")

    (row,), (balance,) = rows(), balances()
    assert balance.spent == row["cost_usd"] > 0
    assert balance.held == 0.0


def test_what_a_cancelled_step_had_spent_is_booked_and_the_rest_is_free(
    budgeted: Callable[..., None], provider: FakeProvider, rows: Rows
) -> None:
    budgeted("[[budgets]]\nusd = 1.0\nper = 'day'")
    provider.script("fast", BreakStream(2, "one two three", silent_s=3600.0))
    started = asyncio.Event()

    async def ask_and_cancel() -> None:
        loop = asyncio.get_running_loop()

        def listen(_: Chunk) -> None:
            loop.call_soon_threadsafe(started.set)

        step = Way(is_async=True).step(plain, on_chunk=listen)
        asking = asyncio.ensure_future(step.task.answer.fn("one"))
        await started.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    run_async(ask_and_cancel)

    (row,), (balance,) = rows(), balances()
    assert balance.spent == row["cost_usd"] > 0
    assert balance.held == 0.0


@both_ways
def test_without_a_budget_nothing_is_written(
    way: Way, budgeted: Callable[..., None], project: Path
) -> None:
    budgeted("[[budgets]]\nusd = 1.0\nper = 'day'\nflow = 'nightly'")

    way.step(plain)("one")

    assert not (project / ".tierflow" / "budgets.db").exists()


@both_ways
def test_people_are_told_once_a_run(
    way: Way, budgeted: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    budgeted()
    step = way.step(plain, sampling=BOUNDED, budget_usd=0.005)
    with caplog.at_level(logging.WARNING, "tierflow"):
        for run in ("one", "one", "two"):
            with pytest.raises(BudgetExhaustedError):
                in_run(step, run, "ask")

    told = [each.getMessage() for each in caplog.records]
    assert len(told) == 2
    assert all(each.startswith("plain: The budget $0.005 a run, step 'plain' is") for each in told)


@both_ways
def test_of_a_batch_what_the_budget_paid_for_is_there(
    way: Way, budgeted: Callable[..., None], provider: FakeProvider
) -> None:
    budgeted("[[budgets]]\nusd = 0.035\nper = 'day'")
    step = way.step(plain, sampling=BOUNDED)

    with pytest.raises(BatchError) as caught:
        step.batch(*"abcdef")

    assert sum(value == "yes" for value in caught.value.values) == 3
    assert {type(each) for each in caught.value.errors.values()} == {BudgetExhaustedError}
    assert len(provider.calls) == 3


def test_threads_of_one_run_do_not_overspend_together(
    budgeted: Callable[..., None], provider: FakeProvider
) -> None:
    budgeted()
    step = Way(is_async=False).step(plain, sampling=BOUNDED, budget_usd=0.055)

    def ask(number: int) -> bool:
        try:
            in_run(step, "run", str(number))
        except BudgetExhaustedError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(12))) == 5
    assert len(provider.calls) == 5


def test_prefect_does_not_repeat_what_no_budget_pays_for() -> None:
    class State:
        def __init__(self, data: object) -> None:
            self.data = data

    exhausted = BudgetExhaustedError("gone")
    step: Any = llm_task(tier="fast")(plain)
    repeated = {
        data: step.retry_condition_fn(step, None, State(data))
        for data in (
            exhausted,
            BatchError("all", (), {0: exhausted}),
            BatchError("some", (), {0: exhausted, 1: OSError()}),
            PromptError("wrong"),
        )
    }
    assert list(repeated.values()) == [False, False, True, False]


@both_ways
def test_an_evaluation_that_no_budget_pays_for_costs_a_log_line(
    way: Way,
    budgeted: Callable[..., None],
    provider: FakeProvider,
    caplog: pytest.LogCaptureFixture,
) -> None:
    budgeted()
    helpful = judged("helpful", tier="standard", rubric="Does it help?", sample=1.0)
    step = way.step(plain, sampling=BOUNDED, budget_usd=0.015, evaluate=[helpful])
    assert in_run(step, "monday", "one").value == "yes"
    settled()
    assert [call.model for call in provider.calls] == ["fast"]
    assert "helpful could not evaluate an answer of plain: " in caplog.text
    assert "budget" in caplog.text


def test_audits_refreshes_and_lessons_are_paid_from_the_steps_budget(around: Surroundings) -> None:
    step = World().play(begun(a_spec(budget_usd=0.5), around))

    assert step.trail.purse is not None
    assert step.anew().trail.purse is step.trail.purse
    renamed = replace(step, spec=replace(step.spec, name="plain (audit)")).anew()
    assert renamed.trail.purse is step.trail.purse
    assert Aside("calibration").trail(step).purse is step.trail.purse
