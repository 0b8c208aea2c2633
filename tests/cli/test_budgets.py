"""`tierflow budgets`: what was spent of each budget, and what is left."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tierflow.budgets import Budget
from tierflow.cli import cli
from tierflow.routing.budgets import Reserved, Spender, open_budgets, purse_of
from tierflow.settings import Deployment, settings

BUDGETS = """
[[budgets]]
usd = 5.0
per = "day"

[[budgets]]
usd = 2.0
per = "month"
each = "tenant"

[[budgets]]
usd = 1.0
per = "run"
flow = "nightly"
"""
NOW = datetime.now(UTC).timestamp()
LONG_AGO = NOW - 40 * 86_400


def run(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(cli, ["budgets", *arguments])


def told(*arguments: str) -> list[dict[str, Any]]:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.fixture
def budgeted(project: Path) -> Path:
    (project / "tierflow.toml").write_text(BUDGETS)
    return project


def spend(run_id: str, usd: float, *, at: float = NOW, own_usd: float | None = None) -> None:
    """Pay a call of a step of that run; another is under way."""
    store = open_budgets(settings())
    spender = Spender("triage", run_id, "inbox", "acme")
    purse = purse_of(settings().budgets, own_usd, spender, lambda: at)
    assert purse is not None
    accounts = purse.accounts(Deployment(model="openai/a"))
    paid = store.reserve(accounts, usd, 3600.0)
    assert isinstance(paid, Reserved)
    store.settle(paid, usd)
    store.reserve(accounts, 0.25, 3600.0)
    store.close()


def test_without_budgets_it_says_how_to_set_one(project: Path) -> None:
    done = run()
    assert done.exit_code == 0
    assert "[[budgets]]" in done.stdout
    assert told() == []
    assert not (project / ".tierflow").exists()


@pytest.mark.usefixtures("budgeted")
def test_budgets_that_nobody_used_yet_are_whole(project: Path) -> None:
    assert [(each["usd"], each["left"]) for each in told()] == [(5.0, 5.0), (2.0, 2.0), (1.0, 1.0)]
    shown = run().stdout
    assert "$5 a day (UTC)" in shown
    assert "no run yet" in shown
    assert not (project / ".tierflow").exists()


@pytest.mark.usefixtures("budgeted")
def test_what_was_spent_and_set_aside_is_off() -> None:
    spend("run-1", 0.5, own_usd=1.5)

    found = {each["label"]: each for each in told()}
    assert found["$5 a day (UTC)"]["spent"] == 0.5
    assert found["$5 a day (UTC)"]["held"] == 0.25
    assert found["$5 a day (UTC)"]["left"] == 4.25
    assert found["$2 a month (UTC), each tenant (acme)"]["left"] == 1.25
    assert found["$1.5 a run, step 'triage'"]["window"] == "run-1"
    assert found["$1 a run, flow 'nightly'"]["spent"] == 0.0
    assert "$4.25" in run().stdout


@pytest.mark.usefixtures("budgeted")
def test_windows_that_are_over_are_shown_when_asked_for() -> None:
    spend("run-1", 0.5, at=LONG_AGO)

    windows = {each["window"] for each in told() if each["per"] == "day"}
    assert windows == {f"{datetime.now(UTC):%Y-%m-%d}"}
    assert len([each for each in told("--all") if each["per"] == "day"]) == 2


@pytest.mark.usefixtures("budgeted")
def test_a_changed_sum_counts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    spend("run-1", 0.5)
    monkeypatch.setenv("TIERFLOW_BUDGETS", '[{"usd": 0.6, "per": "day"}]')

    day = next(each for each in told() if each["per"] == "day")
    assert (day["usd"], day["left"], day["label"]) == (0.6, 0.0, "$0.6 a day (UTC)")


def test_only_the_newest_runs_are_shown(project: Path) -> None:
    for number in range(8):
        spend(f"run-{number}", 0.01, own_usd=1.0)

    assert len(told()) == 5
    assert len(told("--all")) == 8
    assert project.exists()


def test_the_scope_of_a_budget_begins_with_its_window() -> None:
    # The command line reads it from there.
    assert Budget(usd=1, per="month", step="it's").scope.startswith("'month' ")
