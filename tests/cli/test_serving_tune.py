"""`tierflow serving tune`: an engine that is started with each candidate, and one that runs."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.fakes import FakeProvider, Say
from tests.servers import ROOT, free_port
from tierflow.cli import cli

ENGINE = """
import sys, threading
sys.path.insert(0, {root!r})
from tests.fakes import FakeProvider, Say

def say(body):
    count = body["max_tokens"]
    return Say(" ".join(["so"] * count), input_tokens=200, output_tokens=count, chunk_delay_s=0.002)

def option(name):
    return sys.argv[sys.argv.index(name) + 1]

print("chunk", option("--max-num-batched-tokens"), flush=True)
with FakeProvider({{"llama": say}}, port=int(option("--port"))):
    threading.Event().wait()
"""
QUICK = ("--streams", "2", "--joins", "1", "--prompt-tokens", "200")


@pytest.fixture
def engine(project: Path) -> Path:
    """A project with an engine `small`, which is the fake provider in a process of its own."""
    (project / "engine.py").write_text(ENGINE.format(root=str(ROOT)))
    program = json.dumps([sys.executable, str(project / "engine.py")])
    (project / "tierflow.toml").write_text(
        f'[engines.small]\nengine = "vllm"\nmodel = "llama"\nport = {free_port()}\n'
        f"program = {program}\n"
    )
    return project


def tune(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["serving", "tune", *arguments])


def kept(project: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((project / f".tierflow/tuning/{name}.json").read_text())
    return found


def test_a_promise_that_all_keep_takes_one_start_of_the_largest(engine: Path) -> None:
    done = tune("--engine", "small", "--slo-gap-ms", "1e9", "--chunks", "512,256,2048", *QUICK)

    assert done.exit_code == 0, done.output
    assert "chunk_tokens = 2048: the largest measured" in done.output
    found = kept(engine, "small")
    assert [each["chunk_tokens"] for each in found["measured"]] == [2048]
    assert (engine / ".tierflow/tuning/small.2048.log").read_text().startswith("chunk 2048")


@pytest.mark.parametrize("ends", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_what_was_measured_and_ends_the_engine(
    engine: Path, ends: signal.Signals
) -> None:
    command = [sys.executable, "-m", "tierflow.cli", "serving", "tune", "--engine", "small"]
    options = ["--slo-gap-ms", "1e-9", "--chunks", "256,512", "--json", *QUICK]
    with subprocess.Popen(
        [*command, *options],
        cwd=engine,
        env=os.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as tuning:
        assert tuning.stderr
        told = iter(tuning.stderr.readline, "")
        assert any("512 tokens: p99 gap" in line for line in told)
        assert any("256 tokens: starting" in line for line in told)
        tuning.send_signal(ends)
        printed, rest = tuning.communicate(timeout=120)

    assert "What was measured is kept in" in rest
    found = json.loads(printed)
    assert found == kept(engine, "small")
    assert [each["chunk_tokens"] for each in found["measured"]] == [512]
    assert found["choice"]["chunk_tokens"] is None
    assert tuning.returncode == 0


def test_a_signal_before_the_first_measurement_says_that_there_is_none(engine: Path) -> None:
    command = [sys.executable, "-m", "tierflow.cli", "serving", "tune", "--engine", "small"]
    with subprocess.Popen(
        [*command, "--slo-gap-ms", "50", *QUICK],
        cwd=engine,
        env=os.environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as tuning:
        assert tuning.stderr
        assert "starting" in tuning.stderr.readline()
        tuning.send_signal(signal.SIGINT)
        _, rest = tuning.communicate(timeout=120)

    assert "Ended before anything was measured." in rest
    assert tuning.returncode == 1
    assert not (engine / ".tierflow/tuning/small.json").exists()


def test_a_running_engine_is_asked_more_and_more_at_once(
    project: Path, provider: FakeProvider
) -> None:
    provider.script("llama", Say("so it is", input_tokens=300, output_tokens=3))
    (project / "tierflow.toml").write_text(f'[pools.mine]\nreplicas = ["{provider.base_url}"]\n')

    done = tune("--pool", "mine", "--most", "2", "--json")

    found = json.loads(done.stdout)
    assert [each["concurrency"] for each in found["measured"]] == [1, 2]
    assert found["choice"]["concurrency"] in {1, 2}
    assert kept(project, "mine") == found


def test_a_pool_is_asked_for_the_model_that_its_tier_names_with_its_key(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_KEY", "sesame")
    with FakeProvider(default=Say("so it is", input_tokens=300, output_tokens=3)) as provider:
        (project / "tierflow.toml").write_text(
            f'[pools.mine]\nreplicas = ["{provider.base_url}"]\n[tiers.fast]\ndeployments = '
            '[{ model = "hosted_vllm/my/llama", pool = "mine", api_key_env = "ENGINE_KEY" }]\n'
        )

        done = tune("--pool", "mine", "--most", "1", "--json")
        calls = provider.calls

    assert done.exit_code == 0, done.output
    assert {call.model for call in calls} == {"my/llama"}
    assert {call.headers["authorization"] for call in calls} == {"Bearer sesame"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "Give one of"),
        (("--url", "http://x/v1", "--pool", "p"), "Give one of"),
        (("--engine", "small"), "needs --slo-gap-ms"),
        (("--engine", "small", "--slo-gap-ms", "5", "--chunks", "a"), "is no list of tokens"),
        (("--engine", "small", "--slo-gap-ms", "5", "--chunks", "0"), "is no list of tokens"),
    ],
)
def test_what_makes_no_sense_is_not_understood(
    engine: Path, arguments: tuple[str, ...], says: str
) -> None:
    done = tune(*arguments)

    assert done.exit_code == 2
    assert says in done.output
