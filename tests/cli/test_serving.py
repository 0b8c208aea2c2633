"""`tierflow serving`: what is shown of pools, from engines' own pages over real sockets."""

# What is held is nowhere else to be seen.
# pyright: reportPrivateUsage=false

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.fakes import FakeEngine
from tierflow.cli import cli


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, words, catch_exceptions=False)


def write(project: Path, pools: str, deployment: str = '{ model = "openai/x" }') -> None:
    tiers = f"[tiers.fast]\ndeployments = [{deployment}]\n"
    (project / "tierflow.toml").write_text(f"{pools}\n{tiers}")


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


def test_status_shows_each_replica_of_each_pool(
    project: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with engine, FakeEngine(has_pages=False) as silent:
        engine.cache.hits, engine.cache.queries = 30, 40
        engine._load()
        urls = [engine.base_url, silent.base_url, "http://127.0.0.1:9/v1"]
        write(project, f"[pools.llama]\nreplicas = {urls!r}")

        rows = json.loads(run("serving", "status", "--json").stdout)
        table = run("serving", "status").stdout

    assert [row["replica"] for row in rows] == urls
    assert [row["up"] for row in rows] == [True, True, False]
    assert [row["hit_rate"] for row in rows] == [0.75, None, None]
    assert [row["waiting"] for row in rows] == [0, None, None]
    assert [row["reason"] for row in rows] == [None, None, "a replica takes no connections"]
    assert all(url in table for url in urls)
    assert "llama: a replica takes no connections." in table
    assert "75%" in table


def test_status_shows_a_pool_whose_name_is_not_known(project: Path) -> None:
    write(project, '[pools.llama]\ndns = "http://user:secret@nowhere.invalid:8000/v1"')

    result = run("serving", "status", "--json")

    (row,) = json.loads(result.stdout)
    assert (row["replica"], row["up"]) == ("http://nowhere.invalid:8000/v1", False)
    assert row["reason"] == "its host has no address"
    assert "llama: its host has no address." in run("serving", "status").stdout
    assert "secret" not in result.stdout


def test_status_without_pools_says_how_to_have_one(project: Path) -> None:
    write(project, "")

    assert "[pools.NAME]" in run("serving", "status").stdout
    assert json.loads(run("serving", "status", "--json").stdout) == []


def test_tiers_probes_a_pool_as_one(project: Path, engine: FakeEngine) -> None:
    with engine:
        pools = f'[pools.llama]\nreplicas = ["{engine.base_url}", "http://127.0.0.1:9/v1"]'
        write(project, pools, '{ model = "openai/llama", pool = "llama" }')

        (row, *_) = json.loads(run("tiers", "--probe", "--json").stdout)

    assert row["deployment"] == "openai/llama@llama"
    assert (row["keys"], row["usable"], row["known"]) == ([], True, True)
    assert row["load"] == "1 of 2 replicas up, 0 running, 0 waiting, 0% of KV cache"
