"""Asking: items of a step, so many at a time, each accounted for. Decides and proves nothing."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ...errors import ConfigError
from ...tracing.prefect_ui import report_at_end
from ..aside import Aside, Kind
from ..batch import each
from ..body import around_here
from ..decorator import LLMTask
from ..drive import PromptCall, drive
from ..hands import hands
from ..plan import begun
from ..spec import Surroundings
from ..step import Plan, Step
from .items import Item, label_text

T = TypeVar("T")

FRESH_S = 86_400.0
"""Models change behind their names: what was said longer ago is asked again."""


@dataclass(frozen=True, slots=True)
class Asked(Generic[T]):
    """What came of items that were asked about now, and by the item's place the others' errors.

    `cost_usd`: of all of them; None if a price is unknown.
    """

    found: Sequence[T]
    errors: Mapping[int, Exception]
    cost_usd: float | None


def begin(step: LLMTask[..., Any], items: Sequence[Item]) -> Step[Any]:
    """Return the step as it is for the first item; nothing is asked yet.

    Raises ConfigError for an async step, no items, or a label of another type than the step's.
    """
    if step.isasync:
        raise ConfigError(f"{step.name} is async. Take a plain prompt function for it.")
    if not items:
        raise ConfigError("There are no items. Give questions, and their labels if there are any.")
    for item in items:
        if item.label is not None:
            label_text(step.spec, item)
    mine = hands()
    return drive(begun(step.spec, around_here(mine)), mine, _prompt_call(step, items[0]))


def ask_each(
    step: LLMTask[..., Any],
    items: Sequence[Item],
    kind: Kind,
    plan: Callable[[Surroundings, Item, Aside], Plan[T]],
    ended: Callable[[], None],
    *,
    known: Container[str] = (),
    keep: Callable[[T], None] = lambda _: None,
) -> Asked[T]:
    """Carry out a plan for each item, so many at a time as `batch.concurrency` says.

    An item that is there twice counts once. `ended` is called at each item's end. `known`: keys of
    items that need not be asked about. `keep`: is given each result as soon as it is there, in
    whichever thread.
    """
    report_at_end()
    mine, costs = hands(), list[float | None]()

    def ask(row: Mapping[str, Any]) -> T:
        item, aside = row["item"], Aside(kind)
        try:
            result = drive(plan(around_here(mine), item, aside), mine, _prompt_call(step, item))
        finally:
            costs.append(aside.cost_usd)
        keep(result)
        return result

    places = {item.key: at for at, item in reversed(list(enumerate(items)))}
    asked = sorted(at for key, at in places.items() if key not in known)
    for _ in range(len(items) - len(asked)):
        ended()
    rows = [{"item": items[at]} for at in asked]
    found = each(ask, rows, mine.settings.batch.concurrency, lambda _: ended()) if rows else []
    return Asked(
        [one for one in found if not isinstance(one, Exception)],
        {at: one for at, one in zip(asked, found, strict=True) if isinstance(one, Exception)},
        summed(costs),
    )


def summed(costs: Iterable[float | None]) -> float | None:
    """Return the sum of costs, None if one is unknown."""
    known = list(costs)
    return None if None in known else sum(cost for cost in known if cost is not None)


def _prompt_call(step: LLMTask[..., Any], item: Item) -> PromptCall:
    """Return what calls the step's prompt function with an item's arguments."""
    return lambda other: (other or step.prompt)(**item.arguments)
