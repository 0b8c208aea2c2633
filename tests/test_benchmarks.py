"""The benchmarks' form: they run, clean up, and write what they promise. Never their times."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
CALLS = ("prefect_task", "exact_hit", "miss", "litellm", "router", "openai")
IMPORTS = ("import_prefect_bare", "import_prefect", "import_tierflow")
MEDIANS = {f"{name}_ms" for name in (*CALLS, *IMPORTS)}


def step_overhead(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.step_overhead", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def are_milliseconds(values: dict[str, Any]) -> bool:
    return all(isinstance(value, float) and value > 0 for value in values.values())


def test_step_overhead_writes_every_median_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    path = tmp_path / "medians.json"

    done = step_overhead("--json", str(path), "--calls", "2", "--rounds", "1")

    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text())
    assert set(found) == MEDIANS | {"wall", "parameters", "versions"}
    assert are_milliseconds({name: found[name] for name in MEDIANS})
    assert set(found["wall"]) == MEDIANS
    assert are_milliseconds(found["wall"])
    assert found["parameters"].items() >= {"calls": 2, "rounds": 1}.items()
    assert {"python", "tierflow", "prefect", "litellm"} <= set(found["versions"])
    assert list(temporary.iterdir()) == []
    assert "exact_hit" in done.stdout
    assert "met" in done.stdout


def test_step_overhead_says_how_it_is_used() -> None:
    done = step_overhead("--help")

    assert done.returncode == 0
    for option in ("--json", "--calls", "--rounds"):
        assert option in done.stdout


@pytest.mark.parametrize("arguments", [("--calls", "0"), ("--rounds", "-1"), ("--calls", "many")])
def test_step_overhead_refuses_a_number_that_is_none(arguments: tuple[str, ...]) -> None:
    done = step_overhead(*arguments)

    assert done.returncode == 2
    assert arguments[0] in done.stderr
