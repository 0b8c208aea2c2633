"""Ordering: which item of a fan-out goes when, so that equal prefixes run together. Asks nobody.

An engine's prefix cache holds few prefixes at a time. Items of one prefix follow each other, and
the first of the next prefix goes before them: while it is read, the others have something to do.
Who waits for that first one is decided in caching/prefix.
"""

import functools
import inspect
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeAlias, TypeVar

from prefect import unmapped
from prefect.exceptions import MappingLengthMismatch, MappingMissingIterable, ParameterBindError
from prefect.futures import PrefectFuture
from prefect.utilities.callables import (
    expand_mapping_parameters,
    get_call_parameters,
    parameters_to_args_kwargs,
)

from ..errors import ConfigError, PromptError
from ..request import canonical_json, render
from ..settings import settings
from .spec import StepSpec

R = TypeVar("R")

Item: TypeAlias = Mapping[str, Any]
"""The arguments of one item, by name."""

Prefix: TypeAlias = Sequence[Hashable]
"""What begins a request, in parts: items that share the first parts share so much of a cache."""

_MOST_KEPT = 4096
"""So many prompts are kept until their turn; beyond that they are written twice."""


def fan_out_order(prefixes: Sequence[Prefix]) -> list[int]:
    """Return the places of items in the order in which they should begin.

    Groups of one prefix stand as their first items do, next to those that share more of it. One
    that has no prefix stays where its place is among the groups.
    """
    groups = _grouped(list(range(len(prefixes))), prefixes, 0)
    order: list[int] = []
    # The first of a group goes before the rest of the group before it.
    waiting: list[int] = []
    for first, *rest in groups:
        order += [first, *waiting]
        waiting = rest
    return order + waiting


def _grouped(places: list[int], prefixes: Sequence[Prefix], depth: int) -> list[list[int]]:
    by_part: dict[Hashable, list[int]] = {}
    ended: list[int] = []
    for each in places:
        if len(prefixes[each]) > depth:
            by_part.setdefault(prefixes[each][depth], []).append(each)
        elif depth:
            ended.append(each)
        else:
            # Without any prefix it is alone.
            by_part[_Alone(each)] = [each]
    groups = [ended] if ended else []
    for part, members in by_part.items():
        groups += [members] if isinstance(part, _Alone) else _grouped(members, prefixes, depth + 1)
    return groups


class _Alone(int):
    """The place of an item without a prefix: equal to no part of another's."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


class Turns:
    """The items of one step's fan-out, in the order in which they should begin.

    `items`: in that order; `back` puts their results into the order that was given. `prompt`:
    returns the prompt function to run an item with. Prompts are written before their turn where
    the step's tier has a pool: once each, and what one raises is raised in its turn. Those of
    coroutine functions are not: the first call would wait for all that they wait for.
    """

    def __init__(
        self, spec: StepSpec[Any], prompt: Callable[..., Any], items: Sequence[Item]
    ) -> None:
        self._prompt = prompt
        self._came: dict[int, Future[Any]] = {}
        self.order = list(range(len(items)))
        if len(items) > 1 and _gains(spec, prompt):
            self.order = fan_out_order([self._prefix(each) for each in items])
        self.items = [items[at] for at in self.order]

    def back(self, found: Sequence[R]) -> list[R]:
        """Return what was found, in the order in which the items were given."""
        by_place = dict(zip(self.order, found, strict=True))
        return [by_place[at] for at in range(len(found))]

    def prompt(self, item: Item) -> Callable[..., Any]:
        """Return the prompt function of one item: it hands over what came of it before."""
        if id(item) not in self._came:
            return self._prompt
        came = self._came.pop(id(item))

        @functools.wraps(self._prompt)
        def written(*_args: Any, **_kwargs: Any) -> Any:
            return came.result()

        return written

    def _prefix(self, item: Item) -> Prefix:
        came = Future[Any]()
        try:
            args, kwargs = parameters_to_args_kwargs(self._prompt, dict(item))
            came.set_result(self._prompt(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  # it is the item's own, and raised in its turn
            came.set_exception(error)
        if len(self._came) < _MOST_KEPT:
            self._came[id(item)] = came
        return () if came.exception() else prefix_of(came.result())


def map_turns(
    spec: StepSpec[Any], prompt: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Turns | None:
    """Return the turns of a map's calls, None where they go as they are given.

    So they do where an argument is no list, which Prefect waits for or does not expand, and where
    they wait for others: a prompt function may read what those bring about.
    """
    if kwargs.get("wait_for"):
        return None
    mapped = [each for each in (*args, *_own(kwargs).values()) if not isinstance(each, unmapped)]
    are_lists = all(isinstance(each, list | tuple) for each in mapped)
    if not are_lists or not mapped or not _gains(spec, prompt):
        return None
    if any(isinstance(item, PrefectFuture) for each in mapped for item in each):
        return None
    try:
        given = get_call_parameters(prompt, tuple(args), _own(kwargs), apply_defaults=False)
        items: list[dict[str, Any]] = expand_mapping_parameters(prompt, given)
    except (MappingLengthMismatch, MappingMissingIterable, ParameterBindError):
        # Prefect says so itself.
        return None
    turns = Turns(spec, prompt, items)
    return None if turns.order == sorted(turns.order) else turns


def permuted(
    order: Sequence[int], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return a map's arguments with their lists in another order."""

    def moved(value: Any) -> Any:
        is_moved = not isinstance(value, unmapped)
        return [value[at] for at in order] if is_moved else value  # pyright: ignore[reportUnknownVariableType]  # of anything

    own = {name: moved(value) for name, value in _own(kwargs).items()}
    return tuple(map(moved, args)), {**kwargs, **own}


def _own(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a map's keywords that are the step's, not Prefect's."""
    theirs = {"return_state", "wait_for", "deferred"}
    return {name: value for name, value in kwargs.items() if name not in theirs}


def _gains(spec: StepSpec[Any], prompt: Callable[..., Any]) -> bool:
    """Tell whether a step's items are worth ordering."""
    if inspect.iscoroutinefunction(prompt):
        return False
    try:
        current = settings()
        tier = current.tiers.get(spec.tier)
    except ConfigError:
        # The step's own to raise.
        return False
    pools = (current.pools[each.pool] for each in tier.deployments if each.pool)
    return any(each.affinity != "none" for each in pools)


def prefix_of(prompted: object) -> Prefix:
    """Return what begins the request of what a prompt function returned."""
    try:
        rendered = render(prompted, canonical_json)
    except (PromptError, TypeError, ValueError):
        return ()
    return tuple(canonical_json(each) for each in rendered.messages[: rendered.prefix_messages])
