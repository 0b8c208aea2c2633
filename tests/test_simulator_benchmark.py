"""The simulator's benchmark: its form, and a short run on a real engine; never its figures."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import engines, simulator
from tests.serving.simulation.test_fit import CPU, a_setting, measured

ROOT = Path(__file__).parents[1]


def test_it_reports_how_far_it_is_off_where_it_was_not_fitted() -> None:
    runs = [measured(CPU, a_setting(chunk)) for chunk in (128, 512, 1024)]
    found = simulator.report(runs, 512, {128: 0.1, 512: 0.1, 1024: 0.1})
    assert found["gap_error"] == pytest.approx(0, abs=0.01)
    assert found["ttft_error"] == pytest.approx(0, abs=0.01)
    assert found["met"] == {"gap_error": True, "ttft_error": True}
    assert found["stated"].keys() == {"gap_error", "gap_median_error", "ttft_error"}
    assert set(found["by_chunk"]) == {128, 512, 1024}
    assert len(found["runs"]) == 3
    assert found["machine"]["cpus"] > 0
    json.dumps(found)


def test_what_it_was_fitted_on_does_not_know_the_runs_held_out() -> None:
    slower = CPU.model_copy(update={"token_ms": 1.8})
    runs = [measured(CPU, a_setting(128)), measured(CPU, a_setting(1024))]
    found = simulator.report([*runs, measured(slower, a_setting(512))], 512, {})
    assert found["gap_error"] > 0.3
    assert not found["met"]["ttft_error"]


def test_without_an_engine_it_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(engines, "PYTHON", tmp_path / "python")
    with pytest.raises(SystemExit) as ended:
        simulator.main([])
    assert ended.value.code == 1
    assert "make engines" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(not engines.PYTHON.exists(), reason="`make engines` was not run")
def test_a_real_engine_is_measured_and_fitted(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    few = ("--repeats", "1", "--prompt-tokens", "600", "--chunks", "64", "256", "--held-out", "128")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.simulator", "--json", str(path), *few],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(path.read_text())["runs"]) == 3
