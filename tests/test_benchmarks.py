"""The benchmarks' form: they run, clean up, and write what they promise. Never their times."""

import gzip
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.postgres import PACKAGE

ROOT = Path(__file__).parents[1]
CALLS = ("prefect_task", "exact_hit", "miss", "litellm", "router", "openai")
IMPORTS = ("import_prefect_bare", "import_prefect", "import_tierflow")
MEDIANS = {f"{name}_ms" for name in (*CALLS, *IMPORTS)}


def step_overhead(*arguments: str) -> subprocess.CompletedProcess[str]:
    return benchmark("step_overhead", *arguments)


def benchmark(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *arguments],
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


def test_prompt_cache_writes_its_ratios_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    path = tmp_path / "ratios.json"

    done = benchmark("prompt_cache", "--json", str(path), "--calls", "4", "--concurrency", "2")

    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text())
    assert {"anthropic", "openai", "gemini", "parameters", "versions"} == set(found)
    for vendor in ("anthropic", "openai", "gemini"):
        ratios = {"cost_over_no_marks", "cost_over_naive_parallel", "cost_no_reuse"}
        assert ratios <= set(found[vendor])
        # Not a time: nothing that is written in vain is in any bill.
        assert found[vendor]["cost_no_reuse"] <= 1
    assert found["parameters"].items() >= {"calls": 4, "concurrency": 2}.items()
    assert list(temporary.iterdir()) == []
    assert "cost_over_no_marks" in done.stdout


@pytest.mark.parametrize("arguments", [("--calls", "0"), ("--rounds", "-1"), ("--calls", "many")])
def test_step_overhead_refuses_a_number_that_is_none(arguments: tuple[str, ...]) -> None:
    done = step_overhead(*arguments)

    assert done.returncode == 2
    assert arguments[0] in done.stderr


def test_exact_cache_writes_its_numbers_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    path = tmp_path / "numbers.json"
    command = [sys.executable, "-m", "benchmarks.exact_cache", "--json", str(path)]
    few = ["--calls", "20", "--rounds", "1", "--seconds", "0.01"]

    done = subprocess.run([*command, *few], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text())
    times = {"get_us", "set_us", "get_wall_us", "set_wall_us"}
    ratios = {"raw_get_us", "get_over_raw", "two_over_one", "two_over_one_cpu"}
    assert are_milliseconds({name: found[name] for name in times | ratios})
    for name in ("one_process", "two_processes", "four_processes"):
        assert set(found[name]) == {"gets_per_s", "gets_per_cpu_s", "sets_per_s"}
        assert are_milliseconds(found[name])
    peers = {"diskcache_json", "diskcache_pickle", "litellm_disk", "litellm_memory", "sqlite3"}
    assert peers <= set(found["peers"])
    assert all(set(each) == times and are_milliseconds(each) for each in found["peers"].values())
    assert list(temporary.iterdir()) == []
    assert "get / raw" in done.stdout


def test_shared_store_writes_its_medians_for_both_places(tmp_path: Path) -> None:
    if find_spec(PACKAGE) is None:
        pytest.skip(f"{PACKAGE} is missing: pip install 'tierflow[test]'")
    path = tmp_path / "medians.json"
    command = [sys.executable, "-m", "benchmarks.shared_store", "--json", str(path)]
    few = ["--questions", "20", "--calls", "3"]

    done = subprocess.run([*command, *few], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    medians = json.loads(path.read_text())["medians_ms"]
    assert medians.keys() == {"sqlite", "postgres, fsync on"}
    assert medians["sqlite"].keys() == medians["postgres, fsync on"].keys()
    assert all(are_milliseconds(each) for each in medians.values())


def test_semantic_scale_writes_its_numbers_and_leaves_nothing_behind(
    tmp_path: Path, minilm_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary, data = tmp_path / "tmp", tmp_path / "data"
    temporary.mkdir()
    data.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("TIERFLOW_HOME", str(minilm_home))
    path = tmp_path / "numbers.json"
    rows = [
        json.dumps({"text": f"How do I open account {n}?", "answer": "open"}) for n in range(60)
    ]
    (data / "few.jsonl.gz").write_bytes(gzip.compress("\n".join(rows).encode()))

    done = benchmark("semantic_scale", "--json", str(path), "--sizes", "90,30", "--data", str(data))

    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text())
    assert list(found["sizes"]) == ["30", "90"]
    for each in found["sizes"].values():
        took = {f"{name}_p50_ms" for name in ("lookup", "insert", "delete", "durable_insert")}
        assert are_milliseconds({name: each[name] for name in took | {"lookup_p99_ms"}})
        # Not a time: so few are compared one by one.
        assert each["recall_near_tie"] == 1
        assert {"bytes_per_entry", "bytes_computed", "load_s", "build_s"} <= set(each)
    assert are_milliseconds({"full": found["full_lookup_10k_ms"]})
    assert found["peers"]["quoted"]["gptcache_10k_ms"] == 8.4
    assert list(temporary.iterdir()) == []
    assert "lookup_p50_ms" in done.stdout


def test_semantic_scale_without_questions_says_what_is_missing(tmp_path: Path) -> None:
    done = benchmark("semantic_scale", "--data", str(tmp_path))

    assert done.returncode == 2
    assert f"{tmp_path} has 0 questions" in done.stderr


def written(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_bytes(gzip.compress("\n".join(json.dumps(row) for row in rows).encode()))


def test_semantic_hits_writes_its_figures_and_leaves_nothing_behind(
    tmp_path: Path, minilm_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary, data = tmp_path / "tmp", tmp_path / "data"
    temporary.mkdir()
    data.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("TIERFLOW_HOME", str(minilm_home))
    topics = {"card": "lose", "parcel": "track", "account": "open"}
    asked = [
        {"text": f"How do I {verb} the {colour} {noun}?", "answer": noun}
        for noun, verb in topics.items()
        for colour in ("red", "blue", "green", "red")
    ]
    pairs = [{"a": "You are right.", "b": f"You are {word}.", "same": False} for word in "xy"]
    written(data / "stream_topics.jsonl.gz", asked)
    written(data / "pairs_words.jsonl.gz", pairs)
    path = tmp_path / "figures.json"
    few = ["--promises", "0.02", "0.05", "--seeds", "2", "--processes", "2"]

    done = benchmark("semantic_hits", "--data", str(data), "--json", str(path), *few)

    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text())
    shares = {"hit_rate", "second_half_hit_rate", "wrong_per_hit", "wrong_per_request"}
    shares |= {"asks_saved"}
    for streams in (found["streams"], found["in_file_order"], found["baselines"]["vcache"]):
        assert list(streams["topics"]) == ["0.02", "0.05"]
        assert all(set(each) == shares for each in streams["topics"].values())
    assert {"recall", "wrong_rate"} <= set(found["pairs"]["words"]["0.02"])
    fixed = {"cosine_0.8", "cosine_0.9", "gptcache", "gptcache_0.95"}
    assert set(found["baselines"]) == fixed | {"cosine_best", "vcache"}
    assert all(set(found["baselines"][each]["topics"]) == shares for each in fixed)
    assert found["broken"]["topics"]["0.02"].items() >= {"seeds": 2, "broken": 0}.items()
    assert found["counts"] == {
        "topics": {"asked": 9, "repeats": 3},
        "words": {"asked": 2, "repeats": 0},
    }
    assert are_milliseconds(found["decision_ms"])
    assert list(temporary.iterdir()) == []
    assert "second half" in done.stdout


def test_semantic_hits_without_questions_says_what_is_missing(tmp_path: Path) -> None:
    done = benchmark("semantic_hits", "--data", str(tmp_path))

    assert done.returncode == 2
    assert f"{tmp_path} has no stream_" in done.stderr


def judge_gate(data: Path, path: Path) -> dict[str, Any]:
    few = ["--runs", "20", "--drift-runs", "2", "--seeds", "2"]
    done = benchmark("judge_gate", "--data", str(data), "--json", str(path), *few)
    assert done.returncode == 0, done.stderr
    assert "opens" in done.stdout
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_judge_gate_opens_the_proven_stratum_and_not_the_pooled_one(tmp_path: Path) -> None:
    (tmp_path / "judges").mkdir()
    rows = [
        {"stratum": stratum, "item": n, "judge": judge, "prompt": "Vanilla", "label": "1"}
        | dict.fromkeys(("verdict", "verdict_swapped"), "1" if n < right else "2")
        for judge, of in (("good", {"easy": 190, "hard": 100}), ("poor", {"easy": 150}))
        for stratum, right in of.items()
        for n in range(200)
    ]
    written(tmp_path / "judges" / "verdicts.jsonl.gz", rows)

    found = judge_gate(tmp_path, tmp_path / "figures.json")

    opened = {
        judge: {name: each["opens"] for name, each in strata.items()}
        for judge, strata in found["judges"].items()
    }
    assert opened == {
        "good": {"easy": True, "hard": False, "pooled": False},
        "poor": {"easy": False, "pooled": False},
    }
    assert {"lower", "upper", "count", "accuracy"} <= set(found["judges"]["good"]["easy"])
    assert {"opens_rate", "by_scenario", "power"} <= set(found["simulated"])
    assert {"median_labels", "false_alarm_rate"} <= set(found["drift"])


def test_judge_gate_on_recorded_judges_opens_only_what_clears_its_bound(tmp_path: Path) -> None:
    data = Path(os.environ.get("TIERFLOW_DATA", ROOT.parent / "shared" / "data"))
    if not (data / "judges").is_dir():
        pytest.skip(f"{data} has no recorded judges: set TIERFLOW_DATA")

    found = judge_gate(data, tmp_path / "figures.json")

    for judge, strata in found["judges"].items():
        pooled = strata.pop("pooled")
        assert all(each["opens"] == (each["lower"] >= 0.8) for each in strata.values()), judge
        assert pooled["opens"] <= all(each["opens"] for each in strata.values())


def test_judge_gate_without_verdicts_says_what_is_missing(tmp_path: Path) -> None:
    done = benchmark("judge_gate", "--data", str(tmp_path))

    assert done.returncode == 2
    assert f"{tmp_path} has no judges/" in done.stderr


def test_outages_writes_its_drills_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    path = tmp_path / "drills.json"

    done = benchmark("outages", "--json", str(path), "--calls", "20", "--concurrency", "4")

    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text())
    assert set(found) == {"drills", "bars", "met", "parameters"}
    assert {"healthy", "slow", "slow, hedged", "down"} <= set(found["drills"])
    # Whatever happens, no user notices a failure.
    assert {each["failed_calls"] for each in found["drills"].values()} == {0.0}
    assert found["drills"]["down"]["asked_second"] == 20
    assert list(temporary.iterdir()) == []
    assert "p95" in done.stdout


def test_tracing_writes_its_numbers_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    path = tmp_path / "numbers.json"

    done = benchmark("tracing", "--json", str(path), "--calls", "5", "--rounds", "1")

    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text())
    numbers = {"span_us", "step_overhead_us", "chunk_us", "exporter_dead_exit_s"}
    assert all(isinstance(found[name], float) for name in numbers)
    assert set(found["bars"]) == set(found["met"]) == numbers - {"span_us"}
    assert found["parameters"].items() >= {"calls": 5, "rounds": 1}.items()
    assert list(temporary.iterdir()) == []
    assert "exporter_dead_exit_s" in done.stdout
    assert "met" in done.stdout
