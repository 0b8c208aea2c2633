"""The command line, in this process and once as a process of its own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from tests.conftest import Catalogue
from tests.fakes import FakeProvider, Load
from tests.tracing import rows
from tierflow.cli import cli, main
from tierflow.errors import TierflowError
from tierflow.settings import settings
from tierflow.tracing import Row, open_ledger

SECRET = "sk-this-must-never-be-seen"


def run(*arguments: str, answer: str | None = None) -> Result:
    # The tables are as wide as the terminal.
    return CliRunner(env={"COLUMNS": "200"}).invoke(cli, arguments, input=answer)


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


@pytest.mark.parametrize("path", list(commands(cli)), ids=" ".join)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_explains_itself(path: tuple[str, ...], flag: str) -> None:
    result = run(*path, flag)
    assert result.exit_code == 0
    assert "Usage:" in result.stdout
    command: Any = cli
    for name in path:
        command = command.commands[name]
    assert command.help.splitlines()[0] in result.stdout


def test_the_version_is_the_packages() -> None:
    from importlib.metadata import version

    assert version("tierflow") in run("--version").stdout


def test_an_unknown_command_is_exit_code_2() -> None:
    assert run("teirs").exit_code == 2
    assert "teirs" in run("teirs").stderr


# --- tiers


@pytest.mark.usefixtures("project")
def test_tiers_lists_every_deployment_with_its_prices_and_key() -> None:
    result = run("tiers")
    assert result.exit_code == 0
    for name, tier in settings().tiers.items():
        assert name in result.stdout
        for deployment in tier.deployments:
            assert deployment.name in result.stdout
    assert "missing: ANTHROPIC_API_KEY" in result.stdout
    assert "the shipped catalogue" in result.stdout


def test_tiers_as_json_is_one_row_a_deployment(catalogue: Catalogue) -> None:
    catalogue(fast=["a", "b"], law=["c"])
    rows = json.loads(run("tiers", "--json").stdout)
    assert [(row["tier"], row["deployment"].partition("@")[0]) for row in rows] == [
        ("fast", "openai/a"),
        ("fast", "openai/b"),
        ("standard", "openai/standard"),
        ("frontier", "openai/frontier"),
        ("specialist.law", "openai/c"),
    ]
    assert {(row["input"], row["output"], row["usable"]) for row in rows} == {(1.0, 10.0, True)}
    assert {(tuple(row["keys"]), row["load"]) for row in rows} == {((), None)}


def test_a_deployment_without_a_known_price_shows_a_question_mark(project: Path) -> None:
    write_tier(project, '{ model = "openai/unheard-of" }')
    assert "?" in run("tiers").stdout
    assert json.loads(run("tiers", "--json").stdout)[0]["input"] is None


def write_tier(project: Path, deployment: str) -> None:
    (project / "tierflow.toml").write_text(f"[tiers.fast]\ndeployments = [{deployment}]\n")


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("options", [(), ("--json",), ("--probe",)])
def test_tiers_tells_that_a_key_is_set_but_never_shows_it(
    options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(name, SECRET)
    result = run("tiers", *options)
    assert result.exit_code == 0
    assert "ANTHROPIC_API_KEY" in result.stdout
    assert "set ANTHROPIC_API_KEY" not in result.stdout
    assert SECRET not in result.output


def test_an_empty_key_counts_as_missing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tier(project, '{ model = "openai/x", api_key_env = "MY_KEY" }')
    monkeypatch.setenv("MY_KEY", "")
    (row, *_) = json.loads(run("tiers", "--json").stdout)
    assert (row["keys"], row["usable"]) == (["MY_KEY"], False)


def test_a_probe_shows_how_busy_an_engine_is(catalogue: Catalogue, provider: FakeProvider) -> None:
    catalogue()
    provider.set_loads(Load(running=3, waiting=2, kv_cache_usage=0.25))
    assert "3 running, 2 waiting, 25% of KV cache" in run("tiers", "--probe").stdout
    (row, *_) = json.loads(run("tiers", "--probe", "--json").stdout)
    assert row["load"] == "3 running, 2 waiting, 25% of KV cache"


def test_a_probe_says_which_engine_cannot_be_read(project: Path) -> None:
    write_tier(project, '{ model = "openai/x", api_base = "http://127.0.0.1:9/v1" }')
    result = run("tiers", "--probe", "--json")
    assert result.exit_code == 0
    assert "127.0.0.1:9" in json.loads(result.stdout)[0]["load"]


# --- runs


def a_row(flow_run_id: str | None, step: str = "triage", **changed: Any) -> Row:
    given = {"model": "small", "input_tokens": 1200, "output_tokens": 30, "cost_usd": 0.25}
    told = {"strongest_usd": 1.0, "latency_ms": 120.0, "at": "2026-01-02T03:04:05.678+00:00"}
    return rows.a_row(flow_run_id=flow_run_id, step=step, **(given | told | changed))


def enter(*rows: Row) -> None:
    ledger = open_ledger(settings())
    for row in rows:
        ledger.add(row)
    ledger.close()


@pytest.mark.usefixtures("project")
def test_runs_last_sums_the_last_flow_run_by_step() -> None:
    enter(
        a_row("run-1", cost_usd=9.0),
        a_row("run-2"),
        a_row("run-2", cache="exact", cost_usd=0.0, saved_usd=0.25),
        a_row("run-2", "reply", cost_usd=None),
        a_row(None, "outside of a flow"),
    )
    table = run("runs", "last").stdout
    assert "inbox · run-2" in table
    assert "triage" in table
    assert "outside of a flow" not in table
    found = json.loads(run("runs", "last", "--json").stdout)
    assert (found["flow_run_id"], found["flow"]) == ("run-2", "inbox")
    triage, reply, total = found["steps"]
    assert (triage["step"], triage["calls"], triage["exact_hits"]) == ("triage", 2, 1)
    assert (triage["cost_usd"], triage["saved_usd"]) == (0.25, 0.25)
    assert (reply["cost_usd"], reply["unpriced"]) == (0.0, 1)
    assert (total["step"], total["calls"], total["strongest_usd"]) == ("total", 3, 3.0)


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_runs_last_without_rows_fails_with_the_place_and_the_remedy(
    project: Path, options: tuple[str, ...]
) -> None:
    result = run("runs", "last", *options)
    assert result.exit_code == 1
    assert str(project / ".tierflow" / "ledger.db") in result.stderr
    assert "Run one here" in result.stderr
    assert not result.stdout
    assert not list(project.iterdir())


# --- errors, and as a process


@pytest.mark.parametrize("command", [("tiers",), ("cache", "stats"), ("runs", "last")])
def test_wrong_settings_are_one_of_our_errors(project: Path, command: tuple[str, ...]) -> None:
    (project / "tierflow.toml").write_text("[cache]\nttl_s = 0\n")
    assert isinstance(run(*command).exception, TierflowError)


def test_main_says_an_error_of_ours_in_one_line_and_exits_with_1(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "tierflow.toml").write_text("[cache]\nttl_s = 0\n")
    monkeypatch.setattr("sys.argv", ["tierflow", "tiers"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 1
    said = capsys.readouterr()
    assert said.err.startswith("Error: Wrong settings in")
    assert said.err.count("\n") == 1
    assert not said.out


def test_a_cache_that_is_in_the_way_is_one_line_too(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / ".tierflow").mkdir()
    (project / ".tierflow" / "cache").write_text("not a folder")
    monkeypatch.setattr("sys.argv", ["tierflow", "cache", "stats"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 1
    assert "cannot be used" in capsys.readouterr().err


def test_the_installed_command_works_as_a_process(project: Path) -> None:
    script = Path(sys.executable).with_name("tierflow")
    (project / "tierflow.toml").write_text("")
    done = subprocess.run(
        [script, "tiers", "--json"], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert {row["tier"] for row in json.loads(done.stdout)} == {"fast", "standard", "frontier"}

    (project / "tierflow.toml").write_text("[tiers.fast\n")
    done = subprocess.run(
        [script, "tiers"], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: {project / 'tierflow.toml'} is not valid TOML")
    assert "Traceback" not in done.stderr
