"""The form of the cascade's benchmarks on a few recorded answers. Never their figures."""

import gzip
import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def benchmark(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_cascade_writes_its_figures_or_the_reason_of_its_refusal(tmp_path: Path) -> None:
    data = few_answers(tmp_path, 400)
    path = tmp_path / "figures.json"
    pairs = {
        "saving": ("gemini-1.5-flash-002", "gemini-1.5-pro-002"),
        "refused": ("llama-3.1-8b-instruct", "llama-3.1-70b-instruct"),
    }
    found = {}
    for key, (weak, strong) in pairs.items():
        models = ("--weak", weak, "--strong", strong)

        done = benchmark(
            "cascade", *models, "--data", str(data), "--seeds", "1", "--json", str(path)
        )

        assert done.returncode == 0, done.stderr
        found = json.loads(path.read_text())
        assert key in found
        assert {"oracle_saving", "refusals", "worth", "baselines"} <= set(found)
        ways = {"cheapest", "strongest", "best_single", "random_mix", "ex_ante_routing"}
        assert set(found["baselines"]) == ways | {"plain_threshold", "perfect_judge", "oracle"}
        assert len(found["per_seed"]) == 1
    assert "r* = 0." in found["refused"]


def test_guarantee_writes_its_rates_for_both_promises(tmp_path: Path) -> None:
    data = few_answers(tmp_path, 400)
    path = tmp_path / "rates.json"
    few = ("--seeds", "2", "--splits", "4")

    done = benchmark("guarantee", "--data", str(data), *few, "--json", str(path))

    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text())
    rates = {"violation_rate", "naive_violation_rate"}
    assert set(found["settings"]) == {"1pp_3000", "2pp_1000"}
    for figures in (found, *found["settings"].values()):
        assert figures["saving"] <= 1
        assert all(0 <= figures[name] <= 1 for name in rates)
    assert found["parameters"]["splits"] == 4
    assert "naive" in done.stdout


@pytest.mark.parametrize("name", ["cascade", "guarantee"])
def test_recorded_answers_that_are_not_there_are_named(name: str, tmp_path: Path) -> None:
    done = benchmark(name, "--data", str(tmp_path))

    assert done.returncode == 2
    assert f"{tmp_path}/answers/mmlu_pro/gemini-1.5-flash-002.jsonl.gz is not there" in done.stderr


def few_answers(folder: Path, count: int) -> Path:
    """Write a data folder with the first of the recorded answers."""
    usual = Path(__file__).parents[2] / "shared" / "data"
    data = Path(os.environ.get("TIERFLOW_DATA", usual)) / "answers" / "mmlu_pro"
    if not data.exists():
        pytest.skip(f"{data} is not there: set TIERFLOW_DATA to where recorded answers lie")
    few = folder / "answers" / "mmlu_pro"
    few.mkdir(parents=True)
    for path in data.glob("*.jsonl.gz"):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            rows = list(islice(lines, count))
        with gzip.open(few / path.name, "wt", encoding="utf-8") as file:
            file.writelines(rows)
    return folder
