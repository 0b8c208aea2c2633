"""Flags: what a field of a profile is called on a command line, and why it is set. Starts nothing.

A profile is a pydantic model with a field for each option that it may set; a field's annotation
has a Flag or a Variable, so that command line, reasons and tests read the same table.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo


@dataclass(frozen=True, slots=True)
class Flag:
    """An option of a command line. `name` is empty for a value that stands alone.

    `since`: the first version that has it, in which it was `was` before; where there was none, it
    is left out below.
    """

    name: str
    why: str
    since: str = ""
    was: str = ""

    def name_in(self, version: str) -> str | None:
        """Return what it is called in a version; None where it is not known."""
        if not self.since or numbers(version) >= numbers(self.since):
            return self.name
        return self.was or None


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of the engine's environment."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Option:
    """One option as it is set: what stands on the command line or in the environment, and why."""

    written: tuple[str, ...]
    why: str
    is_variable: bool = False


class Profile(BaseModel):
    """Options of one engine. `newest`: the version of the engine that this was written for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    newest: ClassVar[str]

    @classmethod
    def table(cls) -> Iterator[tuple[str, Flag | Variable]]:
        """Yield every option that a profile of this engine may set, by field."""
        for name, info in cls.model_fields.items():
            yield name, _entry(name, info)

    @classmethod
    def flags(cls, version: str) -> set[str]:
        """Return the names of all flags that may be set, in a version."""
        found = {entry.name_in(version) for _, entry in cls.table() if isinstance(entry, Flag)}
        return {name for name in found if name}

    def options(self, version: str) -> Iterator[Option]:
        """Yield what is set, in the order of the fields."""
        for field, entry in self.table():
            value: Any = getattr(self, field)
            if value is None or value is False:
                continue
            if isinstance(entry, Variable):
                yield Option((entry.name, _text(value)), entry.why, is_variable=True)
                continue
            name = entry.name_in(version)
            if name is not None:
                written = (name,) if name else ()
                yield Option(written if value is True else (*written, _text(value)), entry.why)


def numbers(version: str) -> tuple[int, ...]:
    """Return a version's numbers, to compare it: `b11434` is (11434,), `0.32.0+cpu` (0, 32, 0)."""
    return tuple(int(each) for each in re.findall(r"\d+", version.partition("+")[0]))


def _entry(name: str, info: FieldInfo) -> Flag | Variable:
    for each in info.metadata:
        if isinstance(each, Flag | Variable):
            return each
    raise TypeError(f"The field {name} of a profile has neither Flag nor Variable. Annotate it.")


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":")) if isinstance(value, Mapping) else f"{value}"
