"""Returns: the result type of a step as JSON schema, as a reader of replies, and back to JSON."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Generic, TypeVar, cast, get_args

from pydantic import TypeAdapter, ValidationError, create_model

from ..errors import PromptError, UnparseableReplyError
from ..request import canonical_json

T = TypeVar("T")


class Returns(Generic[T]):
    """A result type. `str` means the reply as it is; anything else travels as a JSON object.

    Types that are no JSON object (Literal, list, int, ...) travel as `{"value": ...}`, because
    structured output needs an object at the top.
    """

    def __init__(self, kind: Any) -> None:
        self.kind = kind

    def __reduce__(self) -> tuple[Any, ...]:
        # pydantic's validators need not travel to workers; they are built there.
        return Returns, (self.kind,)

    @property
    def is_text(self) -> bool:
        """Whether the reply itself is the value."""
        return self.kind is str

    @cached_property
    def schema(self) -> Mapping[str, Any] | None:
        """The JSON schema a reply must fit, None for text."""
        return None if self.is_text else strict(_resolved(self._carrier.json_schema()))

    def read(self, text: str) -> T:
        """Return the value a reply holds. Raises UnparseableReplyError, which says why."""
        if self.is_text:
            return text  # type: ignore[return-value]  # T is str here
        try:
            value = self._carrier.validate_json(_json_in(text), by_alias=True, by_name=True)
        except ValidationError as exc:
            faults = exc.errors(include_input=False, include_url=False)
            told = "; ".join(f"{self._place(fault['loc'])}: {fault['msg']}" for fault in faults)
            # pydantic's own words quote the reply, and a traceback would show them.
            raise UnparseableReplyError(
                f"The reply does not fit {self._name}: {told}.", text=text
            ) from None
        return self._unwrap(value)

    def _place(self, loc: tuple[int | str, ...]) -> str:
        # A key that the schema does not name is the reply's own word.
        known = canonical_json(self.schema)
        return (
            ".".join(str(at) for at in loc if isinstance(at, int) or f'"{at}"' in known) or "reply"
        )

    def write(self, value: Any) -> str:
        """Return the reply that would hold a value: how an example in a prompt is written."""
        if self.is_text:
            return str(value)
        try:
            checked: Any = self._adapter.validate_python(value, by_alias=True, by_name=True)
        except ValidationError:
            raise PromptError(
                f"A result among the prompt's examples does not fit {self._name}. Give values that "
                "the step could return."
            ) from None
        carried = checked if self._is_object else self._carrier.validate_python({"value": checked})
        return self._carrier.dump_json(carried, by_alias=True, round_trip=True).decode()

    @property
    def _name(self) -> str:
        if isinstance(self.kind, type) and not get_args(self.kind):
            return self.kind.__name__
        return str(self.kind).replace("typing.", "")

    @cached_property
    def _adapter(self) -> TypeAdapter[T]:
        return TypeAdapter(self.kind)

    @cached_property
    def _is_object(self) -> bool:
        return "properties" in _resolved(self._adapter.json_schema())

    @cached_property
    def _carrier(self) -> TypeAdapter[Any]:
        if self._is_object:
            return self._adapter
        return TypeAdapter(create_model("Result", value=(self.kind, ...)))

    def _unwrap(self, value: Any) -> T:
        unwrapped: T = value if self._is_object else value.value
        return unwrapped


def _resolved(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a schema that is an object itself where it only refers to one: a recursive model."""
    if "$ref" not in schema:
        return schema
    definitions: Mapping[str, dict[str, Any]] = schema["$defs"]
    return definitions[schema["$ref"].rpartition("/")[2]] | {"$defs": definitions}


def strict(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema in the strict form of structured output: closed objects, all required.

    Source: OpenAI, "Structured model outputs", supported schemas.
    """
    seen = {key: _strict(item) for key, item in schema.items() if key != "default"}
    if "properties" in schema:
        # Below this key stand names of fields, which may well be called "default".
        fields = schema["properties"]
        seen["properties"] = {name: _strict(item) for name, item in fields.items()}
        seen |= {"additionalProperties": False, "required": list(fields)}
    return seen


def _strict(node: Any) -> Any:
    match node:
        case dict():
            return strict(cast("dict[str, Any]", node))
        case list():
            return list(map(_strict, cast(Any, node)))
        case _:
            return node


def _json_in(text: str) -> str:
    """Return the JSON part of a reply: models wrap it in code fences or a sentence."""
    start, end = text.find("{"), text.rfind("}")
    return text[start : end + 1] if 0 <= start < end else text
