"""The page on engines: its settings load, and each of its engines has a command line."""

import re
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner

from tierflow.cli import cli
from tierflow.engine_settings import REPLAY_PORTS, EngineKind, Purpose, Speculation
from tierflow.settings import settings

PAGE = (Path(__file__).parents[1] / "docs" / "engines.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
def test_the_pages_engines_have_command_lines(project: Path, text: str) -> None:
    (project / "tierflow.toml").write_text(text, encoding="utf-8")

    for name, engine in settings().engines.items():
        done = CliRunner().invoke(cli, ["serving", "print", name])

        assert done.exit_code == 0, done.output
        assert engine.model in done.output


def test_the_pages_pool_is_that_of_its_engine(project: Path) -> None:
    (text, *_) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (project / "tierflow.toml").write_text(text, encoding="utf-8")
    engine, pool = settings().engines["llama"], settings().pools["llama"]

    assert pool.replicas == tuple(engine.api_base(each) for each in range(engine.replicas))
    assert engine.kv_events_port is not None
    ports = [engine.kv_events_port + each for each in range(engine.replicas)]
    told = [f"{port}?replay={port + REPLAY_PORTS}" for port in ports]
    assert [each.rpartition(":")[2] for each in pool.kv_events] == told


def test_the_page_names_every_engine_purpose_and_way_to_guess() -> None:
    assert set(get_args(Purpose)) == set(re.findall(r'^\| `"(\w+)"` \|', PAGE, re.MULTILINE))
    assert all(each in PAGE for each in get_args(EngineKind))
    methods = get_args(Speculation.model_fields["method"].annotation)
    assert all(f"`{each}`" in PAGE for each in methods)


def test_the_pages_commands_are_there() -> None:
    for words in re.findall(r"tierflow serving (\w+)", PAGE):
        assert CliRunner().invoke(cli, ["serving", words, "--help"]).exit_code == 0
    options = set(re.findall(r"--[a-z][a-z-]*", PAGE)) - {"--json"}
    told = "".join(
        CliRunner().invoke(cli, ["serving", each, "--help"]).output for each in ("launch", "tune")
    )
    assert all(each in told for each in options)
