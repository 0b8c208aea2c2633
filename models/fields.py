"""Fields: what a JSON schema asks for, one by one, and the labels it allows. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Label:
    """One value that a field may take. `described`: what it means, "" where nothing says so."""

    value: str | float | bool | None
    described: str = ""

    @property
    def text(self) -> str:
        """The value as words: `order_lost` reads "order lost"."""
        match self.value:
            case None:
                return "none"
            case bool():
                return "yes" if self.value else "no"
            case value:
                return re.sub(r"[_\-]+", " ", str(value)).strip()


@dataclass(frozen=True, slots=True)
class Choice:
    """A field that takes one of a closed set of labels."""

    name: str
    described: str
    labels: tuple[Label, ...]


@dataclass(frozen=True, slots=True)
class Texts:
    """A field that takes up to `at_most` texts; None where the schema sets no limit."""

    name: str
    at_most: int | None


@dataclass(frozen=True, slots=True)
class Open:
    """A field of any other kind."""

    name: str
    required: bool


Field: TypeAlias = Choice | Texts | Open


def fields_of(schema: Mapping[str, Any]) -> tuple[Field, ...]:
    """Return the properties of an object's schema. `$ref` may point into `$defs`."""
    root = _resolved(schema, schema)
    required = set(root.get("required", ()))
    return tuple(
        _field(name, _resolved(node, schema), schema, required=name in required)
        for name, node in root.get("properties", {}).items()
    )


def described_by(choice: Choice, guide: str) -> Choice:
    """Return the choice with its labels described by list items of a guide.

    An item is `- refund: wants money back`, also with `*`, backticks or a dash for the colon;
    lines indented deeper belong to it. The first item about a label counts, and what the schema
    says of a label counts more.
    """
    items = dict(reversed(list(_items(guide))))
    found = tuple(
        replace(label, described=label.described or items.get(_plain(_written(label)), ""))
        for label in choice.labels
    )
    return replace(choice, labels=found)


def _field(name: str, node: Mapping[str, Any], root: Mapping[str, Any], *, required: bool) -> Field:
    labels = _labels(node, root)
    if labels:
        return Choice(name, str(node.get("description", "")), tuple(dict.fromkeys(labels)))
    if node.get("type") == "array" and _is_text(_resolved(node.get("items", {}), root)):
        return Texts(name, node.get("maxItems"))
    return Open(name, required)


def _labels(node: Mapping[str, Any], root: Mapping[str, Any]) -> list[Label]:
    """Return the values a schema closes itself to, [] where it is open."""
    if "const" in node:
        return [Label(node["const"], str(node.get("description", "")))]
    if "enum" in node:
        return [Label(value) for value in node["enum"]]
    if branches := node.get("anyOf") or node.get("oneOf"):
        each = [_labels(_resolved(branch, root), root) for branch in branches]
        return [label for labels in each for label in labels] if all(each) else []
    match node.get("type"):
        case "boolean":
            return [Label(value=True), Label(value=False)]
        case "null":
            return [Label(None)]
        case _:
            return []


def _is_text(node: Mapping[str, Any]) -> bool:
    return node.get("type") == "string" and "enum" not in node and "const" not in node


def _resolved(node: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow `$ref`, and the `allOf` of one that pydantic wraps it in; what stands beside wins."""
    while True:
        wrapped = node.get("allOf", ())
        if "$ref" in node:
            target: Any = root
            for part in node["$ref"].removeprefix("#").strip("/").split("/"):
                target = target[part.replace("~1", "/").replace("~0", "~")] if part else target
        elif len(wrapped) == 1:
            target = wrapped[0]
        else:
            return node
        beside = {key: value for key, value in node.items() if key not in {"$ref", "allOf"}}
        node = {**target, **beside}


_ITEM = re.compile(
    r"^(?P<indent>\s*)[-*•]\s+(?P<marks>[`*'\"]*)(?P<label>[^`*'\":]+?)(?P=marks)"
    r"\s*(?::|\s[-–—])\s*(?P<described>.*)$"  # noqa: RUF001  # guides are written with any dash
)


def _items(guide: str) -> Iterator[tuple[str, str]]:
    lines = guide.splitlines()
    for number, line in enumerate(lines):
        if item := _ITEM.match(line):
            deeper = _deeper(lines[number + 1 :], len(item["indent"]))
            yield _plain(item["label"]), " ".join((item["described"].strip(), *deeper)).strip()


def _deeper(lines: Sequence[str], indent: int) -> Iterator[str]:
    for line in lines:
        text = line.strip()
        if not text or len(line) - len(line.lstrip()) <= indent:
            return
        yield text.lstrip("-*• ")


def _written(label: Label) -> str:
    match label.value:
        case bool():
            return "true" if label.value else "false"
        case None:
            return "null"
        case value:
            return str(value)


def _plain(label: str) -> str:
    return re.sub(r"[\s_\-]+", " ", label).strip().casefold()
