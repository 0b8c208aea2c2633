"""`tierflow serving fit`: what iterations cost, from runs on disk and over real sockets."""

import json
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.fakes import Fail, FakeProvider, Say, Step
from tests.serving.simulation.test_fit import CPU, a_setting, measured
from tierflow.cli import cli
from tierflow.errors import SimulationError
from tierflow.serving.simulation import read_cost
from tierflow.serving.simulation.measurements import read_measurements, write_measurements


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    path = tmp_path / "runs.json"
    write_measurements(
        [measured(CPU, a_setting(chunk)) for chunk in (128, 512, 1024) for _ in range(3)], path
    )
    return path


def fit(*words: str) -> Result:
    return CliRunner().invoke(cli, ["serving", "fit", *words])


def test_runs_on_disk_become_a_cost_model_with_its_error(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "cost.json"
    done = fit("--measurements", str(runs), "--json", str(out))
    assert done.exit_code == 0, done.output
    assert "6 runs taught" in done.stdout
    assert "Plan nothing with it" not in done.stdout
    found = json.loads(out.read_text())
    assert [each["max_num_batched_tokens"] for each in found["errors"]] == [128, 512, 1024]
    assert all(each["gap"] < 0.01 and each["ttft"] < 0.01 for each in found["errors"])
    cost = read_cost(out)
    assert cost.token_ms == pytest.approx(CPU.token_ms, rel=0.01)
    assert cost.origin == "measured: runs.json"


def test_a_chunk_size_can_be_held_out(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "cost.json"
    done = fit("--measurements", str(runs), "--json", str(out), "--hold-out", "512")
    assert done.exit_code == 0, done.output
    (held,) = json.loads(out.read_text())["errors"]
    assert (held["max_num_batched_tokens"], held["runs"]) == (512, 3)
    refused = fit("--measurements", str(runs), "--json", str(out), "--hold-out", "64")
    assert refused.exit_code == 2
    assert "No run has a chunk size of 64" in refused.output


def test_engines_are_measured_over_sockets_in_turns(provider: FakeProvider, tmp_path: Path) -> None:
    # A fake writes all at once, so that only times to first token teach anything.
    provider.script("small", lambda _: Say("word " * 400, chunk_delay_s=0.0001))
    out, kept = tmp_path / "cost.json", tmp_path / "runs.json"
    engine = ("--url", provider.base_url, "--chunk")
    words = ("--prompt-tokens", "40", "--decodes", "1", "--repeats", "3", "--seed", "1")
    done = fit(*engine, "8", *engine, "16", *words, "--json", str(out), "--keep", str(kept))
    assert done.exit_code == 0, done.output
    sizes = [run.setting.max_num_batched_tokens for run in read_measurements(kept)]
    assert sizes == [8, 16] * 3
    assert read_cost(out).origin.count(provider.base_url) == 2


def test_an_engine_that_fails_midway_loses_no_run(provider: FakeProvider, tmp_path: Path) -> None:
    prompts = count()

    def say(body: Mapping[str, Any]) -> Step:
        # Two prompts warm up, and a run joins three at most.
        is_late = body["max_tokens"] == 2 and next(prompts) >= 5
        return Fail(500) if is_late else Say("word " * 400, chunk_delay_s=0.0001)

    provider.script("small", say)
    out, kept = tmp_path / "cost.json", tmp_path / "runs.json"
    engine = ("--url", provider.base_url, "--chunk", "8")
    words = ("--prompt-tokens", "40", "--decodes", "2", "--repeats", "9", "--seed", "1")
    done = fit(*engine, *words, "--json", str(out), "--keep", str(kept))
    assert isinstance(done.exception, SimulationError)
    assert f"kept in {kept}" in done.stderr
    assert 1 <= len(read_measurements(kept)) <= 3
    assert not out.exists()


def test_an_engine_that_reads_in_no_time_is_nothing_to_plan_with(tmp_path: Path) -> None:
    path, out = tmp_path / "runs.json", tmp_path / "cost.json"
    free = CPU.model_copy(update={"token_ms": 0.0, "pair_ms": 0.0})
    write_measurements([measured(free, a_setting(128)) for _ in range(3)], path)
    done = fit("--measurements", str(path), "--json", str(out))
    assert done.exit_code == 0, done.output
    assert "Plan nothing with it" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--url", "http://127.0.0.1:9/v1"), "1 --url, 0 --chunk"),
        ((), "Nothing to learn from"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    refused = fit("--json", str(tmp_path / "cost.json"), *words)
    assert refused.exit_code == 2
    assert said in refused.output
