"""`tierflow costs` and `tierflow runs list`: what was spent, as a table and as JSON."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.tracing.rows import a_call, a_row
from tierflow.cli import cli
from tierflow.settings import settings
from tierflow.tracing import open_ledger

NOW = datetime.now(UTC)


def run(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(cli, arguments)


def ago(**given: float) -> str:
    return (NOW - timedelta(**given)).isoformat(timespec="milliseconds")


@pytest.fixture
def spent(project: Path) -> Path:
    """A project in which two steps ran: a minute and ten days ago."""
    ledger = open_ledger(settings())
    calls = [
        a_call(ref="new", at=ago(minutes=1)),
        a_call(ref="new", at=ago(minutes=1), role="judge"),
    ]
    ledger.add(a_row(ref="new", at=ago(minutes=1), step="triage", cost_usd=0.02), calls)
    ledger.add(a_row(ref="old", at=ago(days=10), step="digest", flow="nightly", cost_usd=None))
    ledger.close()
    return project


def told(*arguments: str) -> Any:
    done = run("costs", *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def names(*arguments: str) -> list[str]:
    return [each["name"] for each in told(*arguments)["costs"]]


@pytest.mark.usefixtures("spent")
def test_costs_are_shown_by_step_unless_told_otherwise() -> None:
    result = run("costs")
    assert result.exit_code == 0
    for text in ("Costs by step", "triage", "$0.0200", "digest", "total", "100%"):
        assert text in result.stdout
    assert names() == ["triage", "digest"]
    assert names("--by", "role") == ["answer", "judge"]
    assert "guessed" in run("costs", "--by", "model").stdout


@pytest.mark.usefixtures("spent")
def test_json_has_the_window_shares_and_the_total() -> None:
    found = told("--by", "role", "--since", "7d")
    assert (found["by"], found["until"], found["flow"]) == ("role", None, None)
    assert found["since"] < ago(days=6)
    assert [each["share"] for each in found["costs"]] == [0.5, 0.5]
    assert found["total"]["cost_usd"] == pytest.approx(0.02)
    assert told()["total"]["unpriced"] == 1


@pytest.mark.usefixtures("spent")
@pytest.mark.parametrize(
    ("window", "steps"),
    [
        (["--since", "7d"], ["triage"]),
        (["--since", "2w"], ["triage", "digest"]),
        (["--until", "24h"], ["digest"]),
        (["--since", "2026-01-01T00:00+02:00", "--until", "120m"], ["digest"]),
        (["--since", f"{NOW + timedelta(days=2):%Y-%m-%d}"], []),
        (["--flow", "nightly"], ["digest"]),
    ],
    ids=str,
)
def test_only_the_window_counts(window: list[str], steps: list[str]) -> None:
    assert names(*window) == steps


@pytest.mark.usefixtures("spent")
@pytest.mark.parametrize("since", ["yesterday", "7", "7y", "2026-13-01", "", "99999999999w"])
def test_a_time_that_is_none_is_refused_with_what_to_write(since: str) -> None:
    result = run("costs", "--since", since)
    assert result.exit_code == 2
    assert "7d" in result.stderr
    assert "2026-11-01" in result.stderr


@pytest.mark.usefixtures("spent")
def test_a_window_that_ends_before_it_begins_is_refused() -> None:
    result = run("costs", "--since", "2026-11-02", "--until", "2026-11-01")
    assert result.exit_code == 2
    assert "not before" in result.stderr


@pytest.mark.parametrize("command", [["costs"], ["runs", "list"]], ids=" ".join)
def test_without_a_ledger_it_says_where_it_looked_and_makes_none(
    project: Path, command: list[str]
) -> None:
    result = run(*command)
    assert result.exit_code == 1
    assert "No LLM step is in" in result.stderr
    assert not (project / ".tierflow").exists()


@pytest.mark.usefixtures("spent")
def test_flow_runs_are_listed_with_their_cost() -> None:
    ledger = open_ledger(settings())
    ledger.add(a_row(flow_run_id="another", flow=None, cost_usd=0.5))
    ledger.close()
    shown = run("runs", "list")
    assert shown.exit_code == 0
    assert "$0.5000" in shown.stdout
    found = json.loads(run("runs", "list", "-n", "1", "--json").stdout)
    assert [(each["flow_run_id"], each["cost_usd"]) for each in found] == [("another", 0.5)]
