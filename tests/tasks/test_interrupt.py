"""Ctrl-C in the middle of many steps: what was answered is kept, and is not asked for again."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Catalogue
from tests.fakes import FakeProvider, Hang, Say, Step

FOR_EVER = 3600.0
PATIENCE_S = 120.0
ITEMS = "abcd"

SYNC = """
import sys
from tierflow import llm_task

@llm_task(tier="fast")
def ask(item):
    return item

for item in sys.argv[1]:
    answer = ask.answer.fn(item)
    print(answer.value, answer.cache, flush=True)
"""
ASYNC = """
import asyncio
import sys
from tierflow import llm_task

@llm_task(tier="fast")
async def ask(item):
    return item

async def main():
    for item in sys.argv[1]:
        answer = await ask.answer.fn(item)
        print(answer.value, answer.cache, flush=True)

asyncio.run(main())
"""


def start(project: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, project / "many.py", ITEMS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("script", [SYNC, ASYNC], ids=["sync", "async"])
def test_after_ctrl_c_only_what_is_missing_is_asked(
    project: Path, catalogue: Catalogue, provider: FakeProvider, script: str
) -> None:
    catalogue(timeout_s=FOR_EVER)
    (project / "many.py").write_text(script)
    hanging = True

    def reply(body: dict[str, Any]) -> Step:
        item = item_of(body)
        return Hang(FOR_EVER) if hanging and item == "c" else Say(item.upper())

    provider.script("fast", reply)
    with start(project) as process:
        try:
            provider.wait_for_calls(3, timeout_s=PATIENCE_S)
            process.send_signal(signal.SIGINT)
            said, complaint = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
    assert process.returncode == -signal.SIGINT
    assert said == "A miss\nB miss\n"
    assert complaint.rstrip().endswith("KeyboardInterrupt")

    hanging = False
    with start(project) as process:
        said, complaint = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, said) == (0, "A exact\nB exact\nC miss\nD miss\n"), complaint
    assert [item_of(call.body) for call in provider.calls] == ["a", "b", "c", "c", "d"]


def item_of(body: dict[str, Any]) -> str:
    item: str = body["messages"][-1]["content"]
    return item
