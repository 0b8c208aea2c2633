"""Ctrl-C in the middle of a flow, in a process of its own."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from prefect.settings import get_current_settings

import tierflow
from tests.conftest import Catalogue
from tests.fakes import FakeProvider, Hang, Say

from .runs import PATIENCE_S

ROOT = Path(tierflow.__file__).parents[1]
FLOW = """
    from prefect import flow
    from prefect.task_runners import ThreadPoolTaskRunner
    from tierflow import llm_task

    @llm_task(tier="fast")
    def echo(text: str) -> str:
        return text

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def calls() -> None:
        print(*echo.map(["a", "b", "c", "d"]).result())

    if __name__ == "__main__":
        calls()
"""


@pytest.mark.usefixtures("prefect_server")
def test_after_ctrl_c_only_the_rest_is_asked(
    provider: FakeProvider, catalogue: Catalogue, project: Path
) -> None:
    # The process ends with the call that is under way, so the timeout is short.
    catalogue(timeout_s=10.0)
    provider.script("fast", [Say("1"), Say("2"), Hang(60)])
    script = project / "calls.py"
    script.write_text(textwrap.dedent(FLOW), encoding="utf-8")
    url = str(get_current_settings().api.url)
    environ = os.environ | {"PREFECT_API_URL": url, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script)]
    process = subprocess.Popen(command, cwd=project, env=environ, start_new_session=True)
    try:
        provider.wait_for_calls(3, "fast", PATIENCE_S)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) != 0
    finally:
        process.kill()
        process.wait()
    asked = {call.body["messages"][0]["content"] for call in provider.calls}
    assert asked == {"a", "b", "c"}
    provider.reset()
    provider.script("fast", Say("later"))
    done = subprocess.run(
        command, cwd=project, env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "1 2 later later"
    assert len(provider.calls) == 2
