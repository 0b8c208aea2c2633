"""`tierflow serving plan`: replicas and profile for a promise, from a trace on disk."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tierflow.cli import cli
from tierflow.errors import SimulationError
from tierflow.serving.simulation import CostModel


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.jsonl"
    rows = (
        {
            "timestamp": 25 * at,
            "input_length": 600 + 400 * (at % 5),
            "output_length": 20,
            "hash_ids": [1 + at % 3],
        }
        for at in range(300)
    )
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture
def cost(tmp_path: Path) -> Path:
    path = tmp_path / "cost.json"
    path.write_text(CostModel(iteration_ms=8, token_ms=0.1, origin="made").model_dump_json())
    return path


def plan(trace: Path, *words: str) -> Result:
    promise = ("--slo-ttft-s", "1", "--slo-gap-ms", "80")
    return CliRunner().invoke(cli, ["serving", "plan", "--trace", str(trace), *promise, *words])


def test_the_least_replicas_and_their_profile_are_found(trace: Path, cost: Path) -> None:
    words = ("--cost", str(cost), "--profiles", "256,whole,256+apart", "--json")
    done = plan(trace, *words)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    rows = {each["profile"]: each for each in found["profiles"]}
    assert list(rows) == ["256", "whole", "256+apart"]
    kept = [each for each in rows.values() if "replicas" in each]
    assert found["best"] in {each["profile"] for each in kept}
    assert rows[found["best"]]["replicas"] == min(each["replicas"] for each in kept)
    assert all(each["ttft_s"] <= 1 and each["gap_ms"] <= 80 for each in kept)
    assert found["cost"]["origin"] == "made"
    assert (found["requests"], found["slo"]["share"]) == (300, 0.99)
    assert found["lanes"][0]["lanes"] == "one lane"
    assert json.loads(plan(trace, *words).stdout) == found


def test_the_table_says_what_keeps_it_and_what_does_not(trace: Path, cost: Path) -> None:
    words = ("--cost", str(cost), "--profiles", "256,8192", "--slo-gap-ms", "40", "--no-lanes")
    done = plan(trace, *words, "--max-replicas", "16")
    assert done.exit_code == 0, done.output
    assert " replicas of 256." in done.stdout
    assert "Lanes on" not in done.stdout


def test_a_promise_that_none_keeps_is_told_with_what_would_help(trace: Path) -> None:
    done = plan(trace, "--slo-ttft-s", "0.001", "--max-replicas", "2", "--profiles", "512")
    assert done.exit_code == 0, done.output
    assert "first tokens late" in done.stdout
    assert "--slo-ttft-s" in done.stdout


def test_drafts_need_their_acceptance(trace: Path) -> None:
    refused = plan(trace, "--profiles", "512+draft")
    assert isinstance(refused.exception, SimulationError)
    assert "--acceptance" in str(refused.exception)
    few = ("--limit", "60", "--profiles", "512+draft", "--json")
    assert json.loads(plan(trace, *few, "--acceptance", "0.7").stdout)["requests"] == 60


def test_a_file_that_is_no_cost_model_is_named(trace: Path, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    refused = plan(trace, "--cost", str(tmp_path / "other.json"))
    assert isinstance(refused.exception, SimulationError)
    assert "tierflow serving fit --json FILE" in str(refused.exception)
