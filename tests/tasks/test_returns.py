"""Returns: the result type as a schema, as a reader of replies, and as JSON and back."""

import datetime as dt
import decimal
import enum
import json
import pickle
import traceback
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, computed_field
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict

from tierflow.errors import PromptError, UnparseableReplyError
from tierflow.tasks.returns import Returns, strict

# A lone surrogate is no text that JSON can carry.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.floats(allow_nan=False, allow_infinity=False)


class City(BaseModel):
    name: str
    people: int | None = None
    default: str = "a field's name, not a default"


class Country(BaseModel):
    cities: list[City]
    capital: City
    area: dict[str, float] = Field(default_factory=dict)


class Camel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)

    given_name: str
    best_friend: "Camel | None" = None


class ReadAs(BaseModel):
    amount: int = Field(validation_alias="total")


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")

    side: int

    @computed_field  # type: ignore[prop-decorator]  # pydantic's own way
    @property
    def area(self) -> int:
        return self.side**2


class Node(BaseModel):
    number: int
    children: list["Node"] = []


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Pair(TypedDict):
    left: int
    right: str


@dataclass(frozen=True)
class Point:
    x: int
    y: float = 0.0
    tags: list[str] = field(default_factory=list[str])


cities = st.builds(City, name=texts, people=st.none() | st.integers(), default=texts)
camels = st.recursive(
    st.builds(Camel, givenName=texts),
    lambda friends: st.builds(Camel, givenName=texts, bestFriend=friends),
    max_leaves=3,
)
nodes = st.recursive(
    st.builds(Node, number=st.integers()),
    lambda inner: st.builds(Node, number=st.integers(), children=st.lists(inner, max_size=3)),
    max_leaves=5,
)
KINDS: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "text": (str, texts),
    "model": (City, cities),
    "nested model": (
        Country,
        st.builds(
            Country,
            cities=st.lists(cities, max_size=2),
            capital=cities,
            area=st.dictionaries(texts, numbers, max_size=2),
        ),
    ),
    "model with aliases": (Camel, camels),
    "model with a name for reading": (ReadAs, st.builds(ReadAs, total=st.integers())),
    "closed model with a computed field": (Closed, st.builds(Closed, side=st.integers(0, 99))),
    "recursive model": (Node, nodes),
    "dataclass": (Point, st.builds(Point, st.integers(), numbers, st.lists(texts, max_size=2))),
    "typed dict": (Pair, st.fixed_dictionaries({"left": st.integers(), "right": texts})),
    "literal": (Literal["a", "b", 3], st.sampled_from(["a", "b", 3])),
    "enum": (Colour, st.sampled_from(Colour)),
    "list": (list[int], st.lists(st.integers())),
    "list of models": (list[City], st.lists(cities, max_size=3)),
    "list with aliases": (list[Camel], st.lists(camels, max_size=3)),
    "optional": (int | None, st.none() | st.integers()),
    "optional model": (City | None, st.none() | cities),
    "union of models": (City | Point, cities),
    "dict": (dict[str, int], st.dictionaries(texts, st.integers(), max_size=3)),
    "plain dict": (dict, st.dictionaries(texts, st.integers() | texts, max_size=3)),
    "tuple": (tuple[int, str], st.tuples(st.integers(), texts)),
    "set": (set[int], st.sets(st.integers(), max_size=5)),
    "bool": (bool, st.booleans()),
    "int": (int, st.integers()),
    "float": (float, numbers),
    "none": (type(None), st.none()),
    "date": (dt.date, st.dates()),
    "moment": (dt.datetime, st.datetimes(timezones=st.just(dt.UTC))),
    "duration": (dt.timedelta, st.timedeltas(dt.timedelta(0), dt.timedelta(999))),
    "decimal": (decimal.Decimal, st.decimals(-9999, 9999, places=2)),
    "uuid": (uuid.UUID, st.uuids()),
}
every_kind = pytest.mark.parametrize("name", KINDS)


@every_kind
@settings(max_examples=25)
@given(data=st.data())
def test_what_is_written_is_read_back(name: str, data: st.DataObject) -> None:
    kind, values = KINDS[name]
    value, returns = data.draw(values), Returns[Any](kind)
    found = returns.read(returns.write(value))
    assert found == value
    assert type(found) is type(value)


@every_kind
def test_a_schema_is_a_closed_object_at_every_level(name: str) -> None:
    schema = Returns[Any](KINDS[name][0]).schema
    if name == "text":
        assert schema is None
        return
    assert schema is not None
    assert schema["type"] == "object"
    for node in objects_in(schema):
        assert node["additionalProperties"] is False
        assert node["required"] == list(node["properties"])
        assert "default" not in node


def objects_in(node: Any) -> list[dict[str, Any]]:
    """Return every part of a schema that lists properties."""
    if isinstance(node, list):
        return [found for item in cast("Sequence[Any]", node) for found in objects_in(item)]
    if not isinstance(node, dict):
        return []
    schema = cast("dict[str, Any]", node)
    inner = [
        found
        for key, item in schema.items()
        for found in objects_in(list(item.values()) if key in {"properties", "$defs"} else item)
    ]
    return [schema, *inner] if "properties" in schema else inner


def test_a_written_reply_uses_the_names_of_the_schema() -> None:
    returns = Returns[Any](Camel)
    assert returns.schema is not None
    written = json.loads(returns.write({"givenName": "Ada"}))
    assert list(written) == list(returns.schema["properties"]) == ["givenName", "bestFriend"]


def test_what_is_no_object_travels_inside_one() -> None:
    returns = Returns[Any](list[int])
    assert returns.write([1, 2]) == '{"value":[1,2]}'
    assert returns.schema == {
        "title": "Result",
        "type": "object",
        "properties": {"value": {"title": "Value", "type": "array", "items": {"type": "integer"}}},
        "required": ["value"],
        "additionalProperties": False,
    }


def test_a_field_called_default_stays_and_defaults_go() -> None:
    schema = Returns[Any](City).schema
    assert schema is not None
    assert schema["properties"]["default"] == {"title": "Default", "type": "string"}
    assert schema["required"] == ["name", "people", "default"]


def an_object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def an_array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items, "default": []}


leaves: list[dict[str, Any]] = [
    {"type": "string"},
    {"type": "integer", "default": 3},
    {"enum": ["a", "b"]},
]
field_names = st.sampled_from(["a", "default", "properties", "required"])
json_schemas = st.recursive(
    st.sampled_from(leaves),
    lambda inner: (
        st.dictionaries(field_names, inner, max_size=3).map(an_object) | inner.map(an_array)
    ),
    max_leaves=6,
)


@given(json_schemas)
def test_a_strict_schema_is_strict_already(schema: dict[str, Any]) -> None:
    assert strict(strict(schema)) == strict(schema)
    for node in objects_in(strict(schema)):
        assert node["additionalProperties"] is False
        assert node["required"] == list(node["properties"])


@pytest.mark.parametrize(
    "reply",
    [
        '{"x": 1, "y": 2}',
        ' \n{"x": 1, "y": 2}\n ',
        '```json\n{"x": 1, "y": 2}\n```',
        'The point is {"x": 1, "y": 2}. Anything else?',
    ],
)
def test_json_is_found_in_a_reply(reply: str) -> None:
    assert Returns[Point](Point).read(reply) == Point(1, 2)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("", "JSON"),
        ("I would rather not.", "JSON"),
        ("{}", "x: "),
        ('{"x": "many"}', "x: "),
        ('{"x": 1, "y": [2]}', "y: "),
        ('{"x": 1', "JSON"),
        ("[1, 2]", "reply: "),
    ],
)
def test_a_reply_that_does_not_fit_says_which_field_and_why(reply: str, said: str) -> None:
    with pytest.raises(UnparseableReplyError, match="The reply does not fit Point") as caught:
        Returns[Point](Point).read(reply)
    assert said in str(caught.value)
    assert caught.value.text == reply


@given(secret=st.text("xyz", min_size=8))
def test_the_message_never_holds_the_replys_text(secret: str) -> None:
    for reply in (f'{{"x": "{secret}"}}', secret, f'{{"x": 1, "y": {{"{secret}": 1}}}}'):
        with pytest.raises(UnparseableReplyError) as caught:
            Returns[Point](Point).read(reply)
        assert secret not in str(caught.value)


def test_an_example_that_does_not_fit_the_type_is_refused() -> None:
    with pytest.raises(PromptError, match=r"does not fit Literal\['a', 'b'\]") as caught:
        Returns[Any](Literal["a", "b"]).write("can" + "ary")
    assert "canary" not in "".join(traceback.format_exception(caught.value))


def test_neither_a_reply_nor_its_keys_are_quoted_in_the_error() -> None:
    reply = '{"value": {"can' + 'ary": "can' + 'ary"}}'
    with pytest.raises(UnparseableReplyError) as caught:
        Returns[Any](dict[str, int]).read(reply)
    assert "canary" not in "".join(traceback.format_exception(caught.value))


def test_an_example_may_be_the_data_of_a_model() -> None:
    assert Returns[City](City).write({"name": "Bonn"}) == Returns[City](City).write(
        City(name="Bonn")
    )


@every_kind
def test_a_result_type_travels_by_pickle(name: str) -> None:
    kind, _ = KINDS[name]
    returns = Returns[Any](kind)
    before = returns.schema
    again: Returns[Any] = pickle.loads(pickle.dumps(returns))
    assert (again.kind, again.schema) == (kind, before)
