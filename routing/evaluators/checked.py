"""Checked: a function says how good an answer was. It costs nothing."""

import inspect
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from .evaluator import Answered, Evaluator, Found, Sampled

Verdict = bool | float | str | None
"""Passed or not; a score 0-1; a label; None for nothing to say."""


@dataclass(frozen=True, slots=True)
class _Checked(Sampled):
    function: Callable[[Any], Verdict] = bool

    def find(self, answered: Answered[Any]) -> Generator[Any, Any, Sequence[Found]]:
        """Call the function with the answer's value."""
        yield from ()
        said = self.function(answered.value)
        return [] if said is None else [found_by(self.name, said)]


def found_by(name: str, said: bool | float | str, explanation: str | None = None) -> Found:
    """Return what a function said as a finding: bool is "pass" or "fail", a number the score."""
    match said:
        case bool():
            label = "pass" if said else "fail"
            return Found(name, float(said), label, explanation)
        case str():
            return Found(name, label=said, explanation=explanation)
        case _:
            return Found(name, said, explanation=explanation)


def checked(
    name: str,
    function: Callable[[Any], Verdict],
    *,
    sample: float = 1.0,
    hits: bool = False,
) -> Evaluator:
    """Have a function say of an answer's value: bool, a score 0-1, a label, or None for nothing.

    It runs in a thread in the background. `sample`, `hits`: see `safety`. Raises TypeError for an
    async function.
    """
    if inspect.iscoroutinefunction(function):
        raise TypeError(
            f"checked({name!r}) has an async function, and nobody awaits it. Give a def."
        )
    kind = getattr(function, "__qualname__", type(function).__qualname__)
    return _Checked(name, kind[:128], "code", sample, hits, (), function)
