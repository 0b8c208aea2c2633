"""The assignment benchmark's form: it runs and writes what it promises. Never its times."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_it_writes_what_a_decision_takes_and_that_nobody_changes_back(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    words = ["--json", str(path), "--units", "300", "--rounds", "3"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.assignment", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text())
    assert found["us_per_decision"] > 0
    assert len(found["rounds_us"]) == 3
    # From 0 to 100 %, everybody changes over once.
    assert (found["flips"], found["moved"]) == (0, 300)
    assert "flips 0, bar 0: met" in done.stdout
