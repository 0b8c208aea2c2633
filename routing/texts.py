"""Texts: what of a request and of a value is read as text by those that learn from texts."""

from pydantic_core import to_jsonable_python

from ..request import Request, canonical_json


def ask_of(request: Request) -> str:
    """Return what of a request varies, as one text."""
    asked = request.messages[request.prefix_messages :] or request.messages[-1:]
    return "\n\n".join(text_of(each["content"]) for each in asked)


def text_of(value: object) -> str:
    """Return a value as text: a text as it is, all else as JSON."""
    plain = to_jsonable_python(value, fallback=str)
    return plain if isinstance(plain, str) else canonical_json(plain)
