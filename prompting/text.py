"""Text: the words of one version of a prompt, in the form of a file, and their hash. No I/O."""

import hashlib
import json
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Self, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from ..errors import PromptError

_FIELD = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRICT = ConfigDict(frozen=True, extra="forbid")
_HASHED_AS = 1
"""Part of every hash: raise it when the same words mean another prompt."""


def _normal(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def _some(text: str) -> str:
    if not text:
        raise ValueError("there is no word in it")
    return text


# Blanks around a text are the file's layout. What is hashed is what is sent.
_Words = Annotated[str, AfterValidator(_normal)]
_SomeWords = Annotated[_Words, AfterValidator(_some)]


class Example(BaseModel):
    """A pair of an ask and its result, see Prompt. `result`: what JSON and TOML can hold."""

    model_config = _STRICT

    ask: _SomeWords
    result: Any

    @model_validator(mode="after")
    def _is_json(self) -> Self:
        _value(self.result)
        return self


class PromptText(BaseModel):
    """What one version of a prompt says. `{{name}}` in `prefix` or `ask` is a field."""

    model_config = _STRICT

    ask: _SomeWords
    prefix: _Words = ""
    examples: tuple[Example, ...] = Field(default=())

    @classmethod
    def from_toml(cls, text: str, where: str) -> Self:
        """Read the form of a file. `where`: its name, for errors. Raises PromptError."""
        try:
            return cls.model_validate(tomllib.loads(text))
        except tomllib.TOMLDecodeError as exc:
            raise PromptError(f"{where} is not valid TOML: {exc}. Correct that line.") from exc
        except ValidationError as exc:
            faults = "; ".join(
                f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in exc.errors()
            )
        # Not as a consequence of pydantic's error, which quotes the prompt.
        raise PromptError(
            f"{where} is no prompt: {faults}. It holds `ask`, and where they are wanted `prefix` "
            "and [[examples]] with `ask` and `result`."
        )

    def to_toml(self) -> str:
        """Return the form of a file. It reads back as the same text, and is safe on a terminal."""
        examples = (
            f"[[examples]]\nask = {_text(each.ask)}\nresult = {_value(each.result)}"
            for each in self.examples
        )
        prefix = [f"prefix = {_text(self.prefix)}"] if self.prefix else []
        return "\n\n".join((*prefix, f"ask = {_text(self.ask)}", *examples)) + "\n"

    @cached_property
    def hash(self) -> str:
        """The SHA-256 of the content, as 64 hex digits; comments and layout do not count."""
        examples = [[each.ask, each.result] for each in self.examples]
        # Not canonical: a model is shown an object's names in their order, and 1.0 as 1.0.
        whole = json.dumps([_HASHED_AS, self.prefix, self.ask, examples], ensure_ascii=False)
        return hashlib.sha256(whole.encode()).hexdigest()

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields, in the order of their first use."""
        return tuple(dict.fromkeys(_FIELD.findall(f"{self.prefix}\n{self.ask}")))

    def filled(self, values: Mapping[str, str]) -> tuple[str, str]:
        """Return prefix and ask with every field's value; a value's own braces stay as they are."""

        def value(field: re.Match[str]) -> str:
            return values[field[1]]

        return _FIELD.sub(value, self.prefix), _FIELD.sub(value, self.ask)


def _text(text: str) -> str:
    if "\n" not in text:
        return _line(text)
    whole = _escaped(text.replace("\\", "\\\\").replace('"""', '""\\"'), "\n\t")
    return f'"""\n{whole}\n"""'


def _line(text: str) -> str:
    line = _escaped(text.replace("\\", "\\\\").replace('"', '\\"'), "\t")
    return f'"{line}"'


def _escaped(text: str, keep: str) -> str:
    """Write characters that a terminal would obey, or nobody would see, by their number."""
    return "".join(
        each if each.isprintable() or each in keep else f"\\U{ord(each):08x}" for each in text
    )


def _value(value: object) -> str:
    match value:
        case str():
            return _line(value)
        case bool():
            return "true" if value else "false"
        case int() | float() if math.isfinite(value):
            return repr(value)
        case list():
            return f"[{', '.join(map(_value, cast(Sequence[object], value)))}]"
        case dict():
            pairs = cast(Mapping[str, object], value).items()
            inner = ", ".join(f"{_key(name)} = {_value(each)}" for name, each in pairs)
            return f"{{ {inner} }}"
        case _:
            raise ValueError(f"a {type(value).__name__} like this is nothing that JSON can hold")


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _line(name)
