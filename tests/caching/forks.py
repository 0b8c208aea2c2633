"""Forks: many processes from one that has imported all, because to import takes seconds."""

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from tests.caching.answers import entry_of, key_of
from tierflow.caching.disk_store import DiskStore
from tierflow.caching.similar.postgres_store import PostgresSimilarStore
from tierflow.caching.similar.sqlite_store import SqliteSimilarStore
from tierflow.caching.similar.store import SimilarStore

ROOT = Path(__file__).resolve().parents[2]


class Forks:
    """A process that forks others on request. They run Python code that is given as text.

    The code finds `store`, a DiskStore that is not open yet, `me`, `entry_of`, `key_of`, and
    `begin()`, which it must call: it waits there until all are ready. `opened(place)` opens a
    similar store, by its path or URL.
    """

    def __init__(self) -> None:
        self._parent = subprocess.Popen(
            [sys.executable, "-m", "tests.caching.forks"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == "ready"

    def start(self, folder: Path, work: str, names: Sequence[str]) -> list[int]:
        """Start a process for each name; it has begun when this returns. Return their ids."""
        pids: list[int] = self._ask({"folder": str(folder), "work": work, "names": names})
        return pids

    def wait(self, pids: Sequence[int]) -> list[int]:
        """Wait for processes; return how they ended: 0, or minus the signal that killed them."""
        codes: list[int] = self._ask({"wait": pids})
        return codes

    def run(self, folder: Path, work: str, names: Sequence[str]) -> list[str]:
        """Run processes to their end, all at once. Return what they wrote to stderr."""
        codes = self.wait(self.start(folder, work, names))
        said = [(folder.parent / f"{name}.stderr").read_text() for name in names]
        assert codes == [0] * len(names), said
        return said

    def close(self) -> None:
        """End the process that forks."""
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.close()
        self._parent.stdout.close()
        assert self._parent.wait(60) == 0

    def _ask(self, question: object) -> Any:
        assert self._parent.stdin is not None
        self._parent.stdin.write(json.dumps(question) + "\n")
        self._parent.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._parent.stdout is not None
        return json.loads(self._parent.stdout.readline())


def opened(place: str) -> SimilarStore:
    """Open a similar store, by its path or URL."""
    if place.startswith("postgresql"):
        return PostgresSimilarStore(SecretStr(place))
    return SqliteSimilarStore(Path(place))


def _fork(folder: Path, work: str, name: str, gate: int, ready: int) -> int:
    if pid := os.fork():
        return pid
    status = 1
    try:
        # What the parent is told, and tells, is none of the child's business.
        errors = os.open(folder.parent / f"{name}.stderr", os.O_CREAT | os.O_WRONLY)
        os.dup2(errors, 2)

        def begin() -> None:
            os.write(ready, b".")
            os.read(gate, 1)

        store = DiskStore(folder, size_limit_mb=16)
        scope = {"store": store, "me": name, "begin": begin, "entry_of": entry_of, "key_of": key_of}
        exec(work, scope | {"opened": opened})
        status = 0
    except BaseException:  # noqa: BLE001  # the child must not go on as its parent
        traceback.print_exc()
    finally:
        os._exit(status)


def _start(folder: Path, work: str, names: Sequence[str]) -> list[int]:
    gate_out, gate_in = os.pipe()
    ready_out, ready_in = os.pipe()
    pids = [_fork(folder, work, name, gate_out, ready_in) for name in names]
    os.close(ready_in)
    for _ in names:
        os.read(ready_out, 1)
    os.write(gate_in, b"." * len(names))
    for end in (gate_out, gate_in, ready_out):
        os.close(end)
    return pids


def _serve() -> None:
    def answer(value: object) -> None:
        sys.stdout.write(json.dumps(value) + "\n")
        sys.stdout.flush()

    answer("ready")
    for line in sys.stdin:
        match json.loads(line):
            case {"wait": pids}:
                answer([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids])
            case {"folder": folder, "work": work, "names": names}:
                answer(_start(Path(folder), work, names))
            case _:
                raise AssertionError(line)


if __name__ == "__main__":
    _serve()
