"""Asker: another process that answers steps on request, because to start one takes seconds.

It is told where to work, and then what to ask. Whenever another process has the lease that it
wants, it says so.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.tasks.paraphrases import TERMS, about
from tests.tasks.pooled import asked
from tests.tasks.ways import Way, plain
from tierflow.caching import Key, Leases, leases
from tierflow.tasks import close_hands, hands

ROOT = Path(__file__).resolve().parents[2]
REFUSED = "refused"


@dataclass(frozen=True)
class Asked:
    """What became of a question."""

    value: str
    cache: str
    cost_usd: float


class Asker:
    """A process that runs steps. `way`: "sync" or "async"."""

    def __init__(self, way: str) -> None:
        clean = {name: value for name, value in os.environ.items() if "TIERFLOW" not in name}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.tasks.asker", way],
            cwd=ROOT,
            env=clean,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def go_to(self, project: Path, *, lease_s: float = 15.0) -> None:
        """Work in a project from now on; leases last so long, and are renewed in time."""
        self._tell([str(project), lease_s])
        assert self._heard() == "there"

    def ask(self, step: str, question: str) -> Asked:
        """Run a step to its end."""
        self.begin(step, question)
        return self.answer()

    def begin(self, step: str, question: str) -> None:
        """Have a step run, and do not wait."""
        self._tell([step, question])

    def answer(self) -> Asked:
        """Wait for the end of the step that runs."""
        heard = self._heard()
        while heard == REFUSED:
            heard = self._heard()
        return Asked(**heard)

    def wait_until_refused(self) -> None:
        """Wait until the step that runs was refused the lease."""
        assert self._heard() == REFUSED

    def kill(self) -> None:
        """End the process in the middle of whatever it does."""
        self._process.kill()
        self._process.communicate()

    def close(self) -> None:
        """End the process in order."""
        self._process.communicate(timeout=60)

    def _tell(self, what: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()

    def _heard(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


class _ToldLeases(Leases):
    """Leases that say when one is refused."""

    def take(self, key: Key) -> bool:
        taken = super().take(key)
        if not taken:
            _say(REFUSED)
        return taken


def _say(what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _serve(way: Way) -> None:
    steps = {
        "plain": way.step(plain),
        "about": way.step(about, cache=TERMS),
        "asked": way.step(asked, cache=None),
    }
    for line in sys.stdin:
        first, second = json.loads(line)
        if first not in steps:
            close_hands()
            os.chdir(first)
            for name, seconds in (("LEASE_S", second), ("_RENEW_S", second / 10)):
                setattr(leases, name, seconds)
            mine = hands()
            mine.leases = _ToldLeases(mine.store)
            _say("there")
            continue
        answer = steps[first](second)
        _say({"value": answer.value, "cache": answer.cache, "cost_usd": answer.cost_usd})
    close_hands()


if __name__ == "__main__":
    _serve(Way(is_async=sys.argv[1] == "async"))
