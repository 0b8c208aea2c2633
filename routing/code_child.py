"""Code child: the process in which unit tests run a model's code. Imports nothing of ours.

Its standard input holds limits, and a token for each test. A test that passes gives its token
back through what was the standard output; what the code itself prints goes nowhere.
"""

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module


def main() -> None:
    """Run the tests of the working directory's `test_solution.py`."""
    given = json.load(sys.stdin)
    _limit(given["cpu_s"], given["memory_bytes"], given["file_bytes"])
    # Taken before any of the code runs, which may change what it finds.
    tell, leave, out = os.write, os._exit, _away()
    sys.path.insert(0, os.getcwd())  # noqa: PTH109  # pathlib takes a while to import
    import_module("solution")
    tests = import_module("test_solution")
    for name, token in given["tokens"].items():
        if _passes(getattr(tests, name)):
            tell(out, f"{token}\n".encode())
    leave(0)  # not held up by threads of the code


def _limit(cpu_s: int, memory_bytes: int, file_bytes: int) -> None:
    """Lower what the process may use, for good, where the system knows such limits."""
    try:
        import resource  # noqa: PLC0415  # not on Windows
    except ImportError:
        return
    for kind, most in (
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CORE, 0),
    ):
        # macOS refuses some; a limit that is lower already stays.
        with suppress(ValueError, OSError):
            resource.setrlimit(kind, (most, most))


def _away() -> int:
    """Return what was the standard output, and leave all three standard streams empty."""
    out, nowhere = os.dup(1), os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    return out


def _passes(test: Callable[[], object]) -> bool:
    try:
        # A generator or a coroutine has not run at all.
        return test() is None
    except BaseException:  # noqa: BLE001  # however a test fails, the next one is run
        return False


if __name__ == "__main__":
    main()
