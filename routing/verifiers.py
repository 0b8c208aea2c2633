"""Verifiers: judges that compute what a reply is worth. They ask nobody, cost nothing, never vary.

Take them before a judge that is a model: they have no taste, and so no bias.
"""

import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, cast

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


def _field(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return cast("Mapping[str, Any]", value).get(name)
    return getattr(value, name, None)
