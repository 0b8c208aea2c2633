"""Keys: equal requests share one, and any change of what decides the answer makes another."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.caching import (
    keys,
    partition_key,
    prefix_key,
    request_key,
    scope_key,
    value_key,
)
from tierflow.request import PromptId, Request, Sampling, canonical_json
from tierflow.routing import (
    Cascade,
    Chain,
    NamedTier,
    agreement,
    confidence,
    model_judge,
    schema,
    unit_tests,
)
from tierflow.settings import Deployment, Tier

ROUTE = ("fast",)
REQUEST = Request(step="triage", messages=({"role": "user", "content": "Where is my parcel?"},))
CHANGED: Mapping[str, Any] = {
    "step": "summarise",
    "messages": ({"role": "user", "content": "Where is my refund?"},),
    "prefix_messages": 1,
    "schema": {"type": "object"},
    "sampling": Sampling(max_tokens=5),
    "logprobs": True,
    "item": "ticket-7",
    "tenant": "acme",
    "arm": "new-prompt/candidate",
    "stratum": "complaints",
    "prompt_id": PromptId("triage", "v1", "ab" * 32),
}
"""Another value for each field of Request. A new field needs one here, or in DISMISSED."""

scalars = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)
finite = scalars.filter(lambda value: value not in {float("inf"), float("-inf")})
json_values = st.recursive(
    finite,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def reversed_keys(value: Any) -> Any:
    """Return the same JSON value with every object's keys in the opposite order."""
    match value:
        case dict():
            items = list(cast("dict[str, Any]", value).items())
            return {key: reversed_keys(item) for key, item in reversed(items)}
        case list():
            return [reversed_keys(item) for item in cast("Sequence[Any]", value)]
        case _:
            return value


def as_floats(value: Any) -> Any:
    """Return the same JSON value with whole numbers written as floats."""
    match value:
        case bool():
            return value
        case int() if abs(value) < 2**53:
            return float(value)
        case dict():
            return {key: as_floats(item) for key, item in cast("dict[str, Any]", value).items()}
        case list():
            return tuple(as_floats(item) for item in cast("Sequence[Any]", value))
        case _:
            return value


@given(json_values)
def test_canonical_json_does_not_depend_on_the_order_of_keys(value: Any) -> None:
    assert canonical_json(value) == canonical_json(reversed_keys(value))


@given(json_values)
def test_canonical_json_writes_whole_floats_as_integers_and_tuples_as_lists(value: Any) -> None:
    assert canonical_json(value) == canonical_json(as_floats(value))


@given(json_values)
def test_canonical_json_keeps_the_value(value: Any) -> None:
    assert json.loads(canonical_json(value)) == value


@given(json_values, json_values)
def test_canonical_json_of_two_values_is_equal_only_if_they_are(one: Any, other: Any) -> None:
    # Python takes True for 1; JSON does not.
    same = json.dumps(as_floats(one), sort_keys=True) == json.dumps(
        as_floats(other), sort_keys=True
    )
    assert (canonical_json(one) == canonical_json(other)) == same


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [float("-inf")]])
def test_canonical_json_refuses_numbers_that_json_lacks(value: Any) -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(value)


def test_canonical_json_tells_zero_from_false_and_from_text() -> None:
    values: list[Any] = [0, False, "0", None, "", [], {}]
    assert len(set(map(canonical_json, values))) == len(values)


def test_zero_and_zero_point_zero_and_minus_zero_are_one() -> None:
    assert {canonical_json(value) for value in (0, 0.0, -0.0)} == {"0"}


@given(messages=st.lists(st.dictionaries(st.text(), json_values, max_size=3), max_size=3))
def test_equal_requests_have_equal_keys(messages: list[dict[str, Any]]) -> None:
    one = replace(REQUEST, messages=tuple(messages))
    other = replace(REQUEST, messages=tuple(reversed_keys(messages)))
    assert request_key(one, ROUTE) == request_key(other, ROUTE)


def test_temperature_0_and_0_point_0_have_one_key() -> None:
    whole, fraction = (replace(REQUEST, sampling=Sampling(temperature=t)) for t in (0, 0.0))
    assert request_key(whole, ROUTE) == request_key(fraction, ROUTE)


@pytest.mark.parametrize("name", [field.name for field in fields(Request)])
def test_every_field_of_a_request_is_keyed_or_dismissed(name: str) -> None:
    if name in keys.DISMISSED:
        return
    assert name in CHANGED, f"Give Request.{name} another value in CHANGED, or dismiss it."
    changed = replace(REQUEST, **{name: CHANGED[name]})
    assert request_key(changed, ROUTE) != request_key(REQUEST, ROUTE)


def test_a_registered_prompt_is_keyed_by_its_content_under_any_version() -> None:
    one, same = (
        replace(REQUEST, prompt_id=PromptId("triage", version, "ab" * 32))
        for version in ("v1", "v2")
    )
    assert request_key(one, ROUTE) == request_key(same, ROUTE)


def test_only_fields_that_exist_are_dismissed() -> None:
    assert {field.name for field in fields(Request)} >= keys.DISMISSED


@pytest.mark.parametrize("name", list(Sampling.model_fields))
def test_every_sampling_option_is_keyed(name: str) -> None:
    values: dict[str, Any] = {
        "temperature": 0.5,
        "top_p": 0.5,
        "max_tokens": 9,
        "seed": 3,
        "stop": ("\n",),
    }
    changed = replace(REQUEST, sampling=Sampling(**{name: values[name]}))
    assert request_key(changed, ROUTE) != request_key(REQUEST, ROUTE)


def test_a_new_version_makes_other_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    before = request_key(REQUEST, ROUTE)
    monkeypatch.setattr(keys, "VERSION", keys.VERSION + 1)
    assert request_key(REQUEST, ROUTE) != before


def test_a_key_is_the_same_in_every_process_and_release() -> None:
    # Whoever changes this changes every key that users have stored: raise VERSION then.
    known = "4980d4c76d48b67fce4dcc0069303ece724e50e262d6e248dcb92eeabb552b87"
    assert request_key(REQUEST, ROUTE) == known


def a_tier(name: str = "fast", model: str = "openai/small", **changed: Any) -> NamedTier:
    sampling = changed.pop("sampling", Sampling(temperature=0))
    deployment = Deployment(model=model, **changed)
    return NamedTier(name, Tier(deployments=(deployment,), sampling=sampling))


def key_over(*tiers: NamedTier, rule: Cascade | None = None) -> str:
    return request_key(REQUEST, Chain(tiers, {}, rule).identity)


@pytest.mark.parametrize(
    "other",
    [
        a_tier("standard"),
        a_tier(model="openai/large"),
        a_tier(api_base="http://127.0.0.1:8000/v1"),
        a_tier(params={"reasoning_effort": "high"}),
        a_tier(sampling=Sampling(temperature=0, seed=1)),
    ],
    ids=["name", "model", "endpoint", "params", "sampling"],
)
def test_a_tier_that_answers_otherwise_makes_another_key(other: NamedTier) -> None:
    assert key_over(other) != key_over(a_tier())


def test_a_tier_whose_prices_or_patience_changed_keeps_its_keys() -> None:
    assert key_over(a_tier(input_usd_per_mtok=1, output_usd_per_mtok=2)) == key_over(a_tier())
    patient = NamedTier("fast", a_tier().tier.model_copy(update={"timeout_s": 1.0}))
    assert key_over(patient) == key_over(a_tier())


def test_one_more_deployment_or_their_order_makes_another_key() -> None:
    one, two = Deployment(model="openai/a"), Deployment(model="openai/b")
    orders = [(one,), (one, two), (two, one)]
    found = {key_over(NamedTier("fast", Tier(deployments=order))) for order in orders}
    assert len(found) == 3


def _first_letter(value: str) -> str:
    return value[:1]


def _is_upper(value: str) -> bool:
    return value.isupper()


def _last_letter(value: str) -> str:
    return value[-1:]


def test_another_judge_or_threshold_makes_another_key() -> None:
    tiers = a_tier(), a_tier("frontier")
    rules = [
        Cascade(to="frontier", judge=confidence(), max_loss=None),
        Cascade(to="frontier", judge=confidence(), threshold=0.9, max_loss=None),
        Cascade(to="frontier", judge=agreement(), max_loss=None),
        Cascade(to="frontier", judge=agreement(samples=2), max_loss=None),
        Cascade(to="frontier", judge=agreement("fast"), max_loss=None),
        Cascade(to="frontier", judge=agreement(by=_first_letter), max_loss=None),
        Cascade(to="frontier", judge=agreement(by=_last_letter), max_loss=None),
        Cascade(to="frontier", judge=schema(), max_loss=None),
        Cascade(to="frontier", judge=schema(check=_is_upper), max_loss=None),
        Cascade(to="frontier", judge=model_judge("frontier", "Is it polite?"), max_loss=None),
        Cascade(to="frontier", judge=model_judge("frontier", "Is it short?"), max_loss=None),
        Cascade(to="frontier", judge=unit_tests("def test_a(): assert 1"), max_loss=None),
        Cascade(to="frontier", judge=unit_tests("def test_a(): assert 2"), max_loss=None),
    ]
    found = {key_over(*tiers, rule=rule) for rule in (None, *rules)}
    assert len(found) == 1 + len(rules)


def test_a_threshold_that_the_judge_would_take_itself_makes_no_other_key() -> None:
    told = Cascade(to="frontier", judge=confidence(0.8), threshold=0.8, max_loss=None)
    untold = Cascade(to="frontier", judge=confidence(0.8), max_loss=None)
    assert key_over(a_tier(), rule=told) == key_over(a_tier(), rule=untold)


# --- what similar questions must share


@st.composite
def a_message(draw: st.DrawFn) -> dict[str, Any]:
    """Return a chat message, of a named speaker or not."""
    role = draw(st.sampled_from(("system", "user", "assistant")))
    name = draw(st.sampled_from(({}, {"name": "Ada"}, {"name": "Eve"})))
    return {"role": role, "content": draw(st.text(max_size=4)), **name}


MESSAGES = st.lists(a_message(), min_size=1, max_size=4)


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """Return a request of few possible values, so that two often have much in common."""
    messages = tuple(draw(MESSAGES))
    return Request(
        step=draw(st.sampled_from(("triage", "summarise"))),
        messages=messages,
        prefix_messages=draw(st.integers(0, len(messages) - 1)),
        schema=draw(st.sampled_from((None, {"type": "object"}, {"type": "array"}))),
        sampling=draw(st.sampled_from((Sampling(), Sampling(seed=1), Sampling(max_tokens=1)))),
        logprobs=draw(st.booleans()),
        item=draw(st.sampled_from((None, "one", "two"))),
        tenant=draw(st.sampled_from(("", "acme", "other"))),
        arm=draw(st.sampled_from(("", "new/candidate", "new/baseline"))),
    )


ROUTES = st.lists(st.sampled_from(("fast", "frontier")), max_size=2)


def without_ask(request: Request) -> dict[str, Any]:
    """Return all of a request but its ask, as plain values."""
    *before, last = request.messages
    return {
        **{each.name: getattr(request, each.name) for each in fields(request)},
        "messages": [*before, {**last, "content": ""}],
        "item": None,
    }


@given(one=requests(), other=requests(), routes=st.tuples(ROUTES, ROUTES))
def test_two_requests_share_a_partition_only_if_all_but_the_ask_is_equal(
    one: Request, other: Request, routes: tuple[list[str], list[str]]
) -> None:
    same = without_ask(one) == without_ask(other) and routes[0] == routes[1]
    assert (partition_key(one, routes[0]) == partition_key(other, routes[1])) == same


@given(request=requests(), ask=st.text(), item=st.none() | st.text())
def test_requests_that_differ_in_the_ask_alone_share_a_partition_and_no_key(
    request: Request, ask: str, item: str | None
) -> None:
    *before, last = request.messages
    other = replace(request, messages=(*before, {**last, "content": ask}), item=item)
    assert partition_key(request, ROUTE) == partition_key(other, ROUTE)
    if ask != last["content"]:
        assert request_key(request, ROUTE) != request_key(other, ROUTE)


@given(one=requests(), other=requests())
def test_one_changed_field_makes_another_partition(one: Request, other: Request) -> None:
    for name in {each.name for each in fields(Request)} - {"messages", "item", *keys.DISMISSED}:
        value = getattr(other, name)
        changed = replace(one, **{name: value})
        same = canonical_json(_plain(value)) == canonical_json(_plain(getattr(one, name)))
        assert (partition_key(changed, ROUTE) == partition_key(one, ROUTE)) == same


def _plain(value: Any) -> Any:
    return value.given() if isinstance(value, Sampling) else value


@given(request=requests(), tenant=st.text(), ask=st.text(), history=MESSAGES)
def test_a_scope_is_the_same_for_all_tenants_asks_and_histories(
    request: Request, tenant: str, ask: str, history: list[dict[str, Any]]
) -> None:
    prefix, last = request.messages[: request.prefix_messages], request.messages[-1]
    messages = (*prefix, *history, {**last, "content": ask})
    other = replace(request, messages=messages, tenant=tenant, item=None)
    assert scope_key(request, ROUTE) == scope_key(other, ROUTE)


@given(one=requests(), other=requests(), routes=st.tuples(ROUTES, ROUTES))
def test_requests_of_one_partition_are_of_one_scope(
    one: Request, other: Request, routes: tuple[list[str], list[str]]
) -> None:
    if partition_key(one, routes[0]) == partition_key(other, routes[1]):
        assert scope_key(one, routes[0]) == scope_key(other, routes[1])


@pytest.mark.parametrize(
    "name",
    sorted(
        {each.name for each in fields(Request)} - {"messages", "item", "tenant", *keys.DISMISSED}
    ),
)
def test_every_other_field_of_a_request_makes_another_scope(name: str) -> None:
    messages = ({"role": "system", "content": "Sort."}, *REQUEST.messages)
    request = replace(REQUEST, messages=messages)
    changed = replace(request, **{name: CHANGED[name]})
    assert scope_key(changed, ROUTE) != scope_key(request, ROUTE)
    assert partition_key(changed, ROUTE) != partition_key(request, ROUTE)


def test_who_speaks_last_makes_another_partition() -> None:
    named = [({"role": "user", "name": name, "content": "Where?"},) for name in ("Ada", "Eve")]
    one, other = (replace(REQUEST, messages=messages) for messages in named)
    assert partition_key(one, ROUTE) != partition_key(other, ROUTE)


def test_a_prefix_has_one_short_hash_whatever_else_is_asked() -> None:
    system = {"role": "system", "content": "Sort."}
    one = replace(REQUEST, messages=(system, *REQUEST.messages), prefix_messages=1)
    other = replace(one, step="else", tenant="acme", messages=(system, {"role": "user"}))
    assert prefix_key(one) == prefix_key(other) != prefix_key(REQUEST)
    assert len(prefix_key(one)) == 16


@given(st.text(), st.text())
def test_values_are_the_same_but_for_blanks_around_them(one: str, other: str) -> None:
    assert (value_key(one) == value_key(other)) == (one.strip() == other.strip())
    assert value_key(f"  {one}\n") == value_key(one)


@pytest.mark.parametrize("other", ["paris", "Par is", "Paris.", "Paris  (France)"])
def test_values_that_look_much_alike_are_not_the_same(other: str) -> None:
    assert value_key("Paris") != value_key(other) != value_key("Paris (France)")
