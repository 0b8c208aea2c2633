"""`tierflow serving print` and `launch`: real processes, real signals."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from tests.fakes import FakeProvider
from tests.servers import free_port
from tierflow.cli import cli
from tierflow.errors import EngineStartError

SERVER = """
import http.server, os, sys
port = int(sys.argv[sys.argv.index("--port") + 1])
print("asked for", sys.argv[1:], file=sys.stderr, flush=True)
http.server.HTTPServer(("127.0.0.1", port), type("H", (http.server.BaseHTTPRequestHandler,), {
    "do_GET": lambda self: (self.send_response(200), self.end_headers()),
    "log_message": lambda *_: None,
})).serve_forever()
"""


@pytest.fixture
def port(project: Path) -> int:
    """Of an engine `small` that is a server of a few lines."""
    chosen = free_port()
    (project / "server.py").write_text(SERVER)
    program = json.dumps([sys.executable, str(project / "server.py")])
    (project / "tierflow.toml").write_text(
        f'[engines.small]\nengine = "vllm"\nmodel = "llama"\nport = {chosen}\nprogram = {program}\n'
        '[engines.broken]\nengine = "vllm"\nmodel = "llama"\n'
        f'program = ["{sys.executable}", "-c", "raise SystemExit(3)"]\n'
        '[engines.missing]\nengine = "vllm"\nmodel = "llama"\nprogram = ["/no/such/engine"]\n'
    )
    return chosen


def test_print_says_what_is_started_and_why(port: int) -> None:
    done = CliRunner().invoke(cli, ["serving", "print", "small", "--", "--seed", "7"])

    assert done.exit_code == 0
    assert "cached_tokens" in done.output
    assert done.output.rstrip().endswith("--seed 7")


def test_print_tells_programs_the_same_as_json(port: int) -> None:
    done = CliRunner().invoke(cli, ["serving", "print", "small", "--json"])

    found = json.loads(done.output)
    assert found["api_base"] == f"http://127.0.0.1:{port}/v1"
    assert found["argv"][2:6] == ["--model", "llama", "--host", "127.0.0.1"]
    options = {each["option"][0]: each for each in found["options"]}
    assert options["--enable-prefix-caching"]["why"]
    assert options["VLLM_NO_USAGE_STATS"]["is_variable"]


@pytest.mark.parametrize("ends", [signal.SIGINT, signal.SIGTERM])
def test_launch_says_when_the_engine_answers_and_ends_it_with_itself(
    port: int, project: Path, ends: signal.Signals
) -> None:
    command = [sys.executable, "-m", "tierflow.cli", "serving", "launch", "small", "--", "--more"]
    with subprocess.Popen(
        command,
        cwd=project,
        env=os.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as launched:
        assert launched.stdout
        base = launched.stdout.readline().strip()
        answered = httpx.get(f"{base.removesuffix('/v1')}/health", trust_env=False)
        launched.send_signal(ends)
        _, told = launched.communicate(timeout=60)

    assert base == f"http://127.0.0.1:{port}/v1"
    assert answered.is_success
    assert launched.returncode == 0
    assert "--more" in told
    with pytest.raises(httpx.ConnectError):
        httpx.get(base, trust_env=False)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("broken", "ended with 3"),
        ("missing", "/no/such/engine cannot be started"),
        ("other", "No engine 'other'. Known: small, broken, missing."),
    ],
)
def test_an_engine_that_does_not_start_is_an_error_that_says_why(
    port: int, project: Path, name: str, says: str
) -> None:
    command = [sys.executable, "-m", "tierflow.cli", "serving", "launch", name]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("verb", [("launch", "small"), ("tune", "--engine", "small")])
def test_whoever_listens_there_already_is_not_taken_for_the_engine(
    port: int, verb: tuple[str, ...]
) -> None:
    promise = ("--slo-gap-ms", "50") if verb[0] == "tune" else ()
    with FakeProvider({}, port=port):
        done = CliRunner().invoke(cli, ["serving", *verb, *promise])

    assert isinstance(done.exception, EngineStartError)
    assert f"127.0.0.1:{port} already" in str(done.exception)
    assert "[engines.small]" in str(done.exception)
    assert "/v1" not in done.stdout
