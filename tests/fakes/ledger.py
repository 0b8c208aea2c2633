"""Ledger: the scripts of a fake provider and what was asked of it. Thread-safe, no sockets."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .steps import BreakStream, Drop, Fail, Hang, Raw, Say, Script, Step
from .wire import Load


@dataclass(frozen=True)
class Recorded:
    """One request as it arrived. Header names are lower case; ``at`` is time.monotonic()."""

    model: str
    body: dict[str, Any]
    headers: dict[str, str]
    at: float


class Ledger:
    """Shared by the server's thread, which writes, and the test's, which scripts and reads."""

    def __init__(
        self, scripts: Mapping[str, Script], default: Script | None, keep_calls: int | None
    ) -> None:
        self._changed = threading.Condition()
        self._first_scripts = dict(scripts)
        self._default = default
        self._calls: deque[Recorded] = deque(maxlen=keep_calls)
        self._in_flight: Counter[str] = Counter()
        self._number = 0
        self.reset()

    def reset(self) -> None:
        with self._changed:
            self._scripts = dict(self._first_scripts)
            self._played: Counter[str] = Counter()
            self._peaks = Counter(self._in_flight)
            self._loads: tuple[Load, ...] = (Load(),)
            self._calls.clear()

    def script(self, model: str, script: Script) -> None:
        with self._changed:
            self._scripts[model] = script
            del self._played[model]

    def models(self) -> tuple[str, ...]:
        with self._changed:
            return tuple(sorted(self._scripts))

    def loads(self) -> tuple[Load, ...]:
        with self._changed:
            return self._loads

    def set_loads(self, loads: tuple[Load, ...]) -> None:
        with self._changed:
            self._loads = loads

    def calls(self, model: str | None = None) -> tuple[Recorded, ...]:
        with self._changed:
            return tuple(call for call in self._calls if model in (None, call.model))

    def max_in_flight(self, model: str) -> int:
        with self._changed:
            return self._peaks[model]

    def next_step(self, model: str, body: dict[str, Any]) -> Step | None:
        """The step this request gets; None when nothing is scripted for the model."""
        with self._changed:
            script = self._scripts.get(model, self._default)
            played = self._played[model]
            self._played[model] += 1
        if isinstance(script, Say | Fail | Hang | Drop | BreakStream | Raw) or script is None:
            return script
        if callable(script):
            return script(body)
        return script[min(played, len(script) - 1)]

    @contextmanager
    def serving(self, call: Recorded) -> Generator[int]:
        """Record the call, count it as in flight, and number it."""
        with self._changed:
            self._number += 1
            number = self._number
            self._calls.append(call)
            self._in_flight[call.model] += 1
            self._peaks[call.model] = max(self._peaks[call.model], self._in_flight[call.model])
            self._changed.notify_all()
        try:
            yield number
        finally:
            with self._changed:
                self._in_flight[call.model] -= 1
                self._changed.notify_all()

    def wait_for_calls(self, count: int, model: str | None, timeout_s: float) -> None:
        self._wait(lambda: len(self.calls(model)) >= count, f"{count} calls", timeout_s)

    def wait_until_idle(self, timeout_s: float) -> None:
        self._wait(lambda: not any(self._in_flight.values()), "no call in flight", timeout_s)

    def _wait(self, reached: Callable[[], bool], goal: str, timeout_s: float) -> None:
        with self._changed:
            if not self._changed.wait_for(reached, timeout_s):
                state = f"{len(self._calls)} calls, in flight {dict(self._in_flight)}"
                raise TimeoutError(f"Waited {timeout_s} s for {goal}; there are {state}.")
