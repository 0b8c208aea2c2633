"""Running: one engine as a process of this machine, until it is ended by its id."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from ...errors import EngineStartError
from .launch import Launch

_POLL_S = 0.25
_PROBE_S = 5.0
_TELL_S = 15.0
_END_S = 20.0
_TAIL = 15


@contextmanager
def running(launch: Launch, log: Path | None = None) -> Generator[subprocess.Popen[bytes]]:
    """Run an engine. `log`: where its output goes; None leaves it to this process's own.

    Raises EngineStartError where there is no such program.
    """
    file = None if log is None else log.open("wb")
    try:
        process = subprocess.Popen(  # noqa: S603  # what the settings name is what is meant
            launch.argv,
            env={**os.environ, **launch.environment},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT if file else None,
            # Ctrl-C is heard by this process, which ends the engine and what that has started.
            start_new_session=True,
        )
    except OSError as exc:
        raise EngineStartError(
            f"{launch.argv[0]} cannot be started ({type(exc).__name__}). Install the engine, or "
            "name what starts it with program."
        ) from exc
    finally:
        if file is not None:
            file.close()
    try:
        yield process
    finally:
        end(process)


def wait_until_healthy(
    launch: Launch,
    process: subprocess.Popen[bytes],
    *,
    timeout_s: float,
    log: Path | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> None:
    """Return when an engine answers. `tell` hears every 15 s that it does not yet.

    Raises EngineStartError when it ends before that or takes longer, with the end of its log.
    """
    began = told = time.monotonic()
    while (now := time.monotonic()) < began + timeout_s and process.poll() is None:
        try:
            if httpx.get(launch.health_url, timeout=_PROBE_S, trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(_POLL_S)
        if now > told + _TELL_S:
            told = now
            tell(f"{launch.api_base} does not answer yet ({now - began:.0f} s)")
    code = process.poll()
    how = f"ended with {code}" if code is not None else f"did not answer within {timeout_s:g} s"
    raise EngineStartError(f"The engine at {launch.api_base} {how}.{_tail(log)}")


def end(process: subprocess.Popen[bytes]) -> None:
    """End an engine that was started here, by its id, and what it has started."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_END_S)
    # Its workers may outlive it, and hold on to their memory.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _tail(log: Path | None) -> str:
    if log is None:
        return " Its output says why."
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL:]
    return f" Its log {log} ends with:\n" + "\n".join(lines)
