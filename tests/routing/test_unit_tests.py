"""Unit tests as a judge: a reply's code is run in a process of its own, and cannot fake a pass."""

import asyncio
import os
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import Catalogue
from tests.fakes import FakeProvider, Say
from tests.tasks.ways import Way, both_ways, plain
from tierflow import Cascade, unit_tests
from tierflow.routing import (
    Case,
    Judge,
    Parsed,
    Question,
    Ran,
    RunTests,
    Score,
    Trail,
    run_tests,
)
from tierflow.tasks import hands
from tierflow.tasks.drive import drive_async

from .world import World, a_reply, a_request, a_tier, scripted

LONG_S = 120.0
"""Nothing here takes that long, whatever else the machine does."""

DOUBLES = """
from solution import double

def test_of_a_number():
    assert double(2) == 4

def test_of_a_text():
    assert double("a") == "aa"

def test_of_nothing():
    assert double([]) == []
"""
RIGHT = "def double(x):\n    return x + x\n"
NUMBERS_ONLY = "def double(x):\n    return x << 1\n"
THREE = ("test_of_a_number", "test_of_a_text", "test_of_nothing")


def judged(judge: Judge, value: object, trail: Trail | None = None) -> Score:
    """Judge a value that was read from a reply."""
    question: Question[Any] = Question(a_request(), str, trail or Trail())
    parsed: Parsed[Any] = Parsed(a_reply("text"), value)
    score: Score = World(scripted()).run(
        judge.score(Case(question, a_tier("fast", "fast"), parsed, {}))
    )
    return score


def ran(code: str, tests: str = DOUBLES, *names: str, timeout_s: float = LONG_S) -> Ran:
    return run_tests(RunTests(code, tests, names or THREE, timeout_s))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (RIGHT, Score(1.0, "3 of 3 tests passed")),
        (NUMBERS_ONLY, Score(1 / 3, "1 of 3 tests passed")),
        ("def double(x):\n    raise SystemExit\n", Score(0.0, "0 of 3 tests passed")),
    ],
)
def test_the_score_is_the_share_of_tests_that_pass(code: str, expected: Score) -> None:
    assert judged(unit_tests(DOUBLES, timeout_s=LONG_S), code) == expected


def test_all_must_pass_unless_a_threshold_says_otherwise() -> None:
    assert unit_tests(DOUBLES).threshold == 1


@pytest.mark.parametrize("code", ["", "not python", "import nowhere", "1 / 0", "\0", "\ud800"])
def test_code_that_cannot_be_imported_passes_nothing_and_is_not_quoted(code: str) -> None:
    score = judged(unit_tests(DOUBLES, timeout_s=LONG_S), code)

    assert score == Score(0.0, "0 of 3 tests passed; the process ended early, with status 1")


@pytest.mark.parametrize(
    "text",
    [
        f"```python\n{RIGHT}```",
        f"\n```\n{RIGHT}\n```\n",
        f"Here it is:\n\n~~~~py\n{RIGHT}~~~~\n\nEnjoy!",
        f"```python\r\n{RIGHT}```\r\n",
    ],
)
def test_a_code_fence_around_the_code_is_taken_off(text: str) -> None:
    assert judged(unit_tests(DOUBLES, timeout_s=LONG_S), text).value == 1


def test_of_several_code_fences_none_is_chosen() -> None:
    text = f"```python\n{RIGHT}```\nor\n```python\n{NUMBERS_ONLY}```\n"

    assert judged(unit_tests(DOUBLES, timeout_s=LONG_S), text).value == 0


@dataclass
class Patch:
    code: str | None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Patch(RIGHT), 1.0),
        ({"code": RIGHT}, 1.0),
        (Patch(None), 0.0),
        ({"other": RIGHT}, 0.0),
        (RIGHT, 0.0),
    ],
)
def test_the_code_is_found_in_a_field_of_the_value(value: object, expected: float) -> None:
    assert judged(unit_tests(DOUBLES, of="code", timeout_s=LONG_S), value).value == expected


def test_a_value_that_is_no_text_is_not_run() -> None:
    assert judged(unit_tests(DOUBLES), Patch(RIGHT)) == Score(0.0, "the value is no text")


@pytest.mark.parametrize(
    ("tests", "wrong"),
    [
        ("def test_it(:", "do not compile"),
        ("return 1", "do not compile"),
        ("def test_it(): assert '\0'", "do not compile"),
        ("", "no function test_"),
        ("def check(): pass", "no function test_"),
        ("class TestIt:\n    def test_it(self): pass", "no function test_"),
        ("async def test_it(): pass", "test_it is async or takes arguments"),
        ("def test_it(tmp_path): pass", "test_it is async or takes arguments"),
        ("def test_it(*, x): pass", "test_it is async or takes arguments"),
    ],
)
def test_tests_that_could_not_be_run_are_refused(tests: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        unit_tests(tests)


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("inf"), float("nan")])
def test_a_timeout_that_is_none_is_refused(timeout_s: float) -> None:
    with pytest.raises(ValueError, match="Give seconds above 0"):
        unit_tests(DOUBLES, timeout_s=timeout_s)


def test_defaults_are_no_arguments_to_be_given() -> None:
    tests = "def test_it(x=1, *, y=2): assert x + y == 3"

    assert judged(unit_tests(tests, timeout_s=LONG_S), "").value == 1


def test_tests_field_and_timeout_are_in_the_identity() -> None:
    judges = [
        unit_tests(DOUBLES),
        unit_tests(DOUBLES + "\n"),
        unit_tests(DOUBLES, of="code"),
        unit_tests(DOUBLES, timeout_s=20),
    ]
    assert len({judge.identity for judge in judges}) == len(judges)
    assert unit_tests(DOUBLES).identity == unit_tests(DOUBLES).identity


class TestDeceit:
    """What code can say of itself without being right."""

    @pytest.mark.parametrize(
        "code",
        [
            "print('test_of_a_number', 3, 'passed')\nraise SystemExit(0)",
            "import os\nos._exit(0)",
            "import os\nfor fd in range(1, 9): os.write(fd, b'passed 3 ' * 999)\nos._exit(0)",
            "import sys\nsys.stdin.read()\nsys.exit()",
            "import sys, types\nsys.modules['test_solution'] = types.ModuleType('test_solution')",
        ],
    )
    def test_no_pass_can_be_printed_or_exited_into(self, code: str) -> None:
        assert ran(code).passed == 0

    def test_what_was_said_can_be_taken_back_but_not_made_up(self) -> None:
        code = (
            "import os\n"
            "def double(x):\n"
            "    if x != 2:\n"
            "        for fd in range(3, 64):\n"
            "            try: os.lseek(fd, 0, 0); os.write(fd, os.read(fd, 999) * 9)\n"
            "            except OSError: pass\n"
            "    return x << 1\n"
        )
        assert ran(code).passed <= 1

    @pytest.mark.parametrize("body", ["yield", "return True"])
    def test_a_test_that_returns_something_has_asserted_nothing(self, body: str) -> None:
        assert ran("", f"def test_it():\n    {body}\n", "test_it").passed == 0


class TestTheProcess:
    """What the code finds where it runs."""

    def test_it_has_no_environment_and_so_no_keys(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "secret")
        # Python sets LC_CTYPE itself where no locale is set.
        tests = "import os\ndef test_it(): assert set(os.environ) <= {'LC_CTYPE'}, os.environ"

        assert ran("", tests, "test_it").passed == 1

    def test_it_is_alone_in_a_folder_that_is_gone_afterwards(self, tmp_path: Path) -> None:
        note = tmp_path / "where"
        tests = (
            "import os, pathlib, sys\n"
            "def test_it():\n"
            "    here = pathlib.Path.cwd()\n"
            "    assert sorted(each.name for each in here.iterdir())"
            " == ['solution.py', 'test_solution.py']\n"
            f"    pathlib.Path({str(note)!r}).write_text(str(here))\n"
        )

        assert ran("", tests, "test_it").passed == 1
        assert not Path(note.read_text()).exists()

    def test_what_it_imports_is_not_ours(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(Path(__file__).parents[2])
        tests = "import sys\ndef test_it(): assert not {'routing', 'tasks'} & set(sys.modules)"

        assert ran("", tests, "test_it").passed == 1

    @pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits")
    def test_memory_and_files_have_limits_that_it_cannot_lift(self) -> None:
        tests = (
            "import resource\n"
            "def test_memory():\n"
            "    try: bytearray(2**31)\n"
            "    except MemoryError: return\n"
            "    raise AssertionError\n"
            "def test_file():\n"
            "    try: open('big', 'wb').write(b'x' * 2**21)\n"
            "    except OSError: return\n"
            "    raise AssertionError\n"
            "def test_core():\n"
            "    assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)\n"
        )

        assert ran("", tests, "test_memory", "test_file", "test_core").passed == 3

    def test_the_time_has_an_end_and_what_passed_until_then_counts(self) -> None:
        tests = (
            "from solution import loop\n"
            "def test_first(): pass\n"
            "def test_loop(): loop()\n"
            "def test_last(): pass\n"
        )
        names = ("test_first", "test_loop", "test_last")
        code = "def loop():\n    while True: pass\n"

        found = ran(code, tests, *names, timeout_s=5.0)

        assert found == Ran(1, "stopped after 5 s")

    @pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
    def test_the_processes_that_it_starts_end_with_it(self, tmp_path: Path) -> None:
        note = tmp_path / "pid"
        tests = (
            "import pathlib, subprocess, sys\n"
            "def test_it():\n"
            "    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(999)'])\n"
            f"    pathlib.Path({str(note)!r}).write_text(str(child.pid))\n"
        )

        assert ran("", tests, "test_it").passed == 1
        assert is_gone(int(note.read_text()))

    def test_threads_of_the_code_hold_nobody_up(self) -> None:
        code = "import threading, time\nthreading.Thread(target=time.sleep, args=(999,)).start()\n"

        assert ran(code + RIGHT) == Ran(3)

    def test_without_a_folder_to_run_in_nothing_passes(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))

        assert ran(RIGHT) == Ran(0, "they could not be run: FileNotFoundError")


def is_gone(pid: int) -> bool:
    """Wait for a killed process to leave; whoever adopts it may take a moment to bury it."""
    status = Path(f"/proc/{pid}/stat")
    until = time.monotonic() + LONG_S
    while time.monotonic() < until:
        try:
            if status.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        os.sched_yield()
    return False


def test_no_time_left_before_the_deadline_is_no_pass() -> None:
    score = judged(unit_tests(DOUBLES), RIGHT, Trail(left_s=lambda: -1.0))

    assert score == Score(0.0, "0 of 3 tests passed; stopped after 0 s")


@settings(max_examples=10)
@given(st.lists(st.booleans(), min_size=1, max_size=8))
def test_as_many_pass_as_hold(holds: list[bool]) -> None:
    tests = "".join(f"def test_{n}(): assert {each}\n" for n, each in enumerate(holds))
    score = judged(unit_tests(tests, timeout_s=LONG_S), "")

    assert score == Score(sum(holds) / len(holds), f"{sum(holds)} of {len(holds)} tests passed")


def test_the_event_loop_goes_on_meanwhile(project: Path) -> None:
    """The code waits for a file that only the loop's own thread writes."""
    sign = project / "sign"
    tests = (
        "import pathlib, time\n"
        "def test_it():\n"
        f"    while not pathlib.Path({str(sign)!r}).exists(): time.sleep(0.01)\n"
    )

    async def both() -> Any:
        def plan() -> Generator[RunTests, Ran, Ran]:
            return (yield RunTests("", tests, ("test_it",), LONG_S))

        running = asyncio.create_task(drive_async(plan(), hands(), lambda _: None))
        while not running.done():
            await asyncio.sleep(0)
            sign.touch()
        return await running

    assert asyncio.run(both()) == Ran(1)


@both_ways
@pytest.mark.parametrize(("code", "tier"), [(RIGHT, "fast"), (NUMBERS_ONLY, "frontier")])
def test_a_step_escalates_code_that_fails_a_test(
    way: Way, code: str, tier: str, catalogue: Catalogue, provider: FakeProvider
) -> None:
    catalogue()
    for model in ("fast", "frontier"):
        provider.script(model, Say(f"```python\n{code}```"))
    judge = unit_tests(DOUBLES, timeout_s=LONG_S)

    answer = way.step(plain, cascade=Cascade(to="frontier", judge=judge, max_loss=None))("Double.")

    assert answer.tier == tier
    assert answer.verdicts[0].judge == "unit_tests"
