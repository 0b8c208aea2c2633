"""Code run: unit tests of a model's code, in a process of its own. Judges nothing.

This is no security boundary. The process has no environment, a folder of its own, limits and an
end, but the user's rights and network; and code that sets out to deceive its tests can do so.
"""

import json
import math
import os
import secrets
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO

from .effects import Ran, RunTests

_CHILD = Path(__file__).with_name("code_child.py")
_MEMORY_BYTES = 2**30
_FILE_BYTES = 2**20


def run_tests(effect: RunTests) -> Ran:
    """Run unit tests, and count those that pass. Never raises for what the code does.

    The whole process group is killed at the end, or after `timeout_s`: the tests that passed
    until then count. What cannot be run has passed no test.
    """
    # Nothing that the code prints is a token: it would have to dig for one in the child's memory.
    tokens = {name: secrets.token_hex(16) for name in effect.names}
    given = {
        "cpu_s": max(1, math.ceil(effect.timeout_s)),
        "memory_bytes": _MEMORY_BYTES,
        "file_bytes": _FILE_BYTES,
        "tokens": tokens,
    }
    try:
        # Files, because a pipe stays open for as long as any process that the code started.
        with (
            TemporaryDirectory(prefix="tierflow-", ignore_cleanup_errors=True) as folder,
            TemporaryFile() as told,
            TemporaryFile() as said,
        ):
            _write(Path(folder, "solution.py"), effect.code)
            _write(Path(folder, "test_solution.py"), effect.tests)
            told.write(json.dumps(given).encode())
            told.seek(0)
            status = _run(folder, told, said, effect.timeout_s)
            said.seek(0)
            given_back = set(said.read(_FILE_BYTES).decode(errors="replace").split())
    except OSError as exc:
        return Ran(0, f"they could not be run: {type(exc).__name__}")
    passed = sum(token in given_back for token in tokens.values())
    if status is None:
        return Ran(passed, f"stopped after {effect.timeout_s:.3g} s")
    return Ran(passed, f"the process ended early, with status {status}" if status else "")


def _write(path: Path, text: str) -> None:
    # Half of a surrogate pair is no Python, nor worth an error here.
    path.write_text(text, encoding="utf-8", errors="replace")


def _run(folder: str, told: IO[bytes], said: IO[bytes], timeout_s: float) -> int | None:
    """Return the child's exit status, None where it did not end in time."""
    child = subprocess.Popen(  # noqa: S603  # that the code is not ours is the point
        [sys.executable, "-I", "-B", str(_CHILD)],
        cwd=folder,
        # Windows starts no program without this one.
        env={name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ},
        stdin=told,
        stdout=said,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return child.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        # Also after Ctrl-C here, which a session of its own does not hear.
        _kill(child)
        child.wait()


def _kill(child: subprocess.Popen[bytes]) -> None:
    if hasattr(os, "killpg"):  # there are no process groups on Windows
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
    child.kill()
