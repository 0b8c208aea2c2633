"""Verifiers: judges that compute what a reply is worth. They ask nobody and cost no tokens.

Take them before a judge that is a model: they have no taste, and so no bias.
"""

import ast
import hashlib
import math
import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from .effects import Ran, RunTests
from .judges import Case, Judge, Score, source_of


@dataclass(frozen=True, slots=True)
class _Verifier:
    name: str
    identity: str
    threshold: float = 1.0
    tiers: tuple[str, ...] = ()
    logprobs: bool = False


@dataclass(frozen=True, slots=True)
class _Matches(_Verifier):
    pattern: re.Pattern[str] | None = None
    of: str | None = None

    def score(self, case: Case[Any]) -> Generator[Any, Any, Score]:
        """Score 1 where the pattern is found."""
        yield from ()
        text = case.parsed.reply.text if self.of is None else _field(case.parsed.value, self.of)
        if text is None:
            return Score(0.0, f"the value has no {self.of}")
        found = self.pattern is not None and self.pattern.search(str(text)) is not None
        return Score(float(found), f"the pattern is {'found' if found else 'not found'}")


def matches(pattern: str, *, of: str | None = None) -> Judge:
    r"""Accept what a regular expression is found in: `matches(r"\A[A-Z]{2}-\d{6}\Z")`.

    `of`: a field of the value, by name; None takes the reply's whole text. A field that is missing
    or None is not accepted. Flags go into the pattern: `(?i)`. Raises ValueError for a pattern
    that is none. One that backtracks without end holds up the step: no deadline stops it.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as exc:
        raise ValueError(f"{pattern!r} is no regular expression: {exc}. Correct it.") from exc
    return _Matches("matches", f"matches({pattern!r},{of!r})", pattern=compiled, of=of)


@dataclass(frozen=True, slots=True)
class _Passes(_Verifier):
    checks: tuple[Callable[[Any], bool], ...] = ()

    def score(self, case: Case[Any]) -> Generator[Any, Any, Score]:
        """Score by the share of checks that the value passes."""
        yield from ()
        failed = [check.__name__ for check in self.checks if not check(case.parsed.value)]
        passed = len(self.checks) - len(failed)
        names = f"; failed: {', '.join(failed)}" if failed else ""
        return Score(passed / len(self.checks), f"{passed} of {len(self.checks)} passed{names}")


def passes(*checks: Callable[[Any], bool]) -> Judge:
    """Accept a value that passes all checks; the verdict names those that it fails.

    The score is the share passed: a calibration may find that fewer than all will do. Raises
    ValueError for no checks, or for one that cannot be read as a whole.
    """
    if not checks:
        raise ValueError("passes() has no checks. Give functions that take the value.")
    sources = ",".join(source_of(check) for check in checks)
    return _Passes("passes", f"passes({sources})", checks=checks)


@dataclass(frozen=True, slots=True)
class _UnitTests(_Verifier):
    code: str = ""
    names: tuple[str, ...] = ()
    of: str | None = None
    timeout_s: float = 10.0

    def score(self, case: Case[Any]) -> Generator[Any, Any, Score]:
        """Score by the share of the tests that the reply's code passes."""
        value = case.parsed.value if self.of is None else _field(case.parsed.value, self.of)
        if not isinstance(value, str):
            return Score(
                0.0, "the value is no text" if self.of is None else f"no text in {self.of}"
            )
        left_s = max(case.question.trail.left_s(), 0.0)
        timeout_s = min(self.timeout_s, left_s)
        ran: Ran = yield RunTests(_unfenced(value), self.code, self.names, timeout_s)
        said = f"{ran.passed} of {len(self.names)} tests passed"
        fault = f"; {ran.fault}" if ran.fault else ""
        return Score(ran.passed / len(self.names), said + fault)


def unit_tests(code: str, *, of: str | None = None, timeout_s: float = 10.0) -> Judge:
    """Accept code that passes unit tests: for steps that write Python.

    `code`: source of the tests, which find the reply's code as the module `solution`: functions
    `def test_...()` without arguments, which assert and return nothing; classes and fixtures are
    not looked at. `of`: the field of the value that holds the code; None takes a value that is a
    text. Of a text with one Markdown code fence, what stands in it. The score is the share of
    tests that pass; what takes longer than `timeout_s` in all is stopped.

    Each reply is run by this interpreter, with its packages, in a process and a temporary folder
    of its own: without environment (so without keys), with 1 GiB of memory, files of 1 MiB, and
    `timeout_s` of CPU. That is no security boundary: the code has the rights of the worker, its
    files and its network. Run workers of such steps in a container. Nor does it hold against code
    that sets out to deceive its tests. Raises ValueError for tests that do not compile, none at
    all, or one that could not be called.
    """
    if not 0 < timeout_s < math.inf:
        raise ValueError(f"timeout_s={timeout_s!r} is no time. Give seconds above 0.")
    names = _tests_of(code)
    digest = hashlib.sha256(code.encode()).hexdigest()[:16]
    identity = f"unit_tests({digest},{of!r},{timeout_s!r})"
    return _UnitTests("unit_tests", identity, code=code, names=names, of=of, timeout_s=timeout_s)


def _tests_of(code: str) -> tuple[str, ...]:
    try:
        tree = ast.parse(code, "test_solution.py")
        compile(tree, "test_solution.py", "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as exc:
        raise ValueError(f"The unit tests do not compile: {exc}. Correct them.") from exc
    functions = [
        each for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    tests = [each for each in functions if each.name.startswith("test_")]
    if not tests:
        raise ValueError("The unit tests have no function test_*. Write def test_...(): assert ...")
    for each in tests:
        asked = len(each.args.posonlyargs + each.args.args) - len(each.args.defaults)
        if isinstance(each, ast.AsyncFunctionDef) or asked or None in each.args.kw_defaults:
            raise ValueError(
                f"The unit test {each.name} is async or takes arguments, which nobody awaits or "
                f"gives. Write def {each.name}(): ..."
            )
    return tuple(dict.fromkeys(each.name for each in tests))


_FENCED = re.compile(r"^(`{3,}|~{3,})[^\n]*\n(.*?)^\1[ \t\r]*$", re.MULTILINE | re.DOTALL)


def _unfenced(text: str) -> str:
    """Return what stands in a text's one code fence; the text itself for none or several."""
    fenced = _FENCED.findall(text)
    return str(fenced[0][1]) if len(fenced) == 1 else text


def _field(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return cast("Mapping[str, Any]", value).get(name)
    return getattr(value, name, None)
