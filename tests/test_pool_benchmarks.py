"""The form of the benchmarks of model pools and RouteLLM's data; never their figures."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


def data(folder: str) -> Path:
    found = Path(os.environ.get("TIERFLOW_DATA", ROOT.parent / "shared" / "data"))
    if not (found / folder).is_dir():
        pytest.skip(f"{found} has no {folder}: set TIERFLOW_DATA to where recorded answers lie")
    return found


def benchmark(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_cascade_routing_reports_every_strategy_beside_its_own(tmp_path: Path) -> None:
    folder = data("answers/mmlu_pro")
    path = tmp_path / "figures.json"
    few = ["--items", "600", "--seeds", "2", "--trials", "2"]

    done = benchmark("cascade_routing", "--data", str(folder), "--json", str(path), *few)

    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text())
    ours = ("linear", "routing", "cascade", "threshold", "gaussian", "oracle")
    areas = {f"auc_{name}": found[f"auc_{name}"] for name in ours}
    assert all(0 < each < 100 for each in areas.values())
    assert found["auc"] < max(areas.values()) == areas["auc_oracle"]
    assert found["auc_ci"][0] < found["auc"] < found["auc_ci"][1]
    assert found["gain_ci"][0] < found["gain"] < found["gain_ci"][1]
    assert found["better_single_strategy"] in {"routing", "cascade"}
    assert {"saving", "saving_ci", "accuracy_delta_pp", "decision_ms"} <= set(found)
    assert "auc" in done.stdout


def test_cascade_routing_without_answers_says_what_is_missing(tmp_path: Path) -> None:
    done = benchmark("cascade_routing", "--data", str(tmp_path))

    assert done.returncode == 2
    assert "is not there. Set --data or TIERFLOW_DATA." in done.stderr


def test_routellm_reads_replies_only_where_they_were_kept(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"

    def row(at: int, **more: Any) -> str:
        hard = at % 3 == 0
        prompt = f"Add {at} and {at}" + ", which is hard" * hard
        return json.dumps(
            {"prompt": prompt, "weak_correct": not hard, "strong_correct": at % 10 != 0, **more}
        )

    (tmp_path / "routellm").mkdir()
    replies = [{"weak_text": f"<<{at}+{at}={2 * at + (at % 3 == 0)}>>"} for at in range(200)]
    for name, rows in {
        "mmlu": [row(at) for at in range(200)],
        "gsm8k": [row(at, **replies[at]) for at in range(200)],
    }.items():
        (tmp_path / "routellm" / f"{name}.jsonl.gz").write_bytes(
            gzip.compress("\n".join(rows).encode())
        )

    done = benchmark("routellm", "--data", str(tmp_path), "--json", str(path), "--seeds", "2")

    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text())
    assert found["sets"]["mmlu"]["reads"] == "prompt"
    assert "post_hoc" not in found["sets"]["mmlu"]
    assert found["sets"]["gsm8k"]["reads"] == "prompt and weak reply"
    for figures in (found["sets"]["mmlu"]["ex_ante"], found["sets"]["gsm8k"]["post_hoc"]):
        assert figures["saving"] > figures["random_saving"]
        assert figures["cost_saving"] < figures["saving"]
        assert {"of_strong_quality", "hindsight_saving", "oracle_saving_ci"} <= set(figures)


def test_routellm_without_records_says_what_is_missing(tmp_path: Path) -> None:
    done = benchmark("routellm", "--data", str(tmp_path))

    assert done.returncode == 2
    assert "is not there. Set --data or TIERFLOW_DATA." in done.stderr
