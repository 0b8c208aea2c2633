"""Route learning: what a step's tiers answer to items, and the route that follows from it.

What a tier said is kept in the exact cache for a day: after Ctrl-C or a crash only what is missing
is asked. Nothing else of prompts and replies is kept but words that three or more asks share.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from ..caching import Entry, Find, Keep, request_key
from ..errors import ConfigError, UnparseableReplyError
from ..request import Stored
from ..routing import NamedTier, Question, Route, Trail, ask_of, ask_tier, text_of
from ..routing.gate import Binding
from ..routing.learned import Recorded, Recordings, Refusal
from ..routing.routes.learned import LearnedRoute, Offer
from ..routing.routes.learning import learn_route
from .batch import each
from .calibration import Item, label_text
from .collecting import check_askable, prompt_call
from .decorator import LLMTask
from .drive import drive
from .hands import hands
from .plan import begun
from .routed import route_binding
from .spec import StepSpec, Surroundings
from .step import Plan, Step

T = TypeVar("T")

_LEARN_SHARE = 0.6
"""So many of the items teach; the others measure what was learned."""

_FRESH_S = 86_400.0
"""Models change behind their names: what a tier said longer ago is asked again."""


@dataclass(frozen=True, slots=True)
class Told(Generic[T]):
    """What a tier said, None for a reply that cannot be used, and what that cost."""

    text: str
    value: T | None
    cost_usd: float | None


@dataclass(frozen=True, slots=True)
class Lesson:
    """One item, and by tier what was said and whether it was right. `at`: Unix seconds."""

    item: str
    at: float
    bound_to: Binding
    ask: str
    stratum: str
    told: Mapping[str, Told[Any]]
    right: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class RouteLearned:
    """A learned route, and by the item's place the errors of those that taught nothing.

    `chosen`: the way that the step goes now; None if it goes none, and `refusal` says why.
    """

    route: LearnedRoute
    errors: Mapping[int, Exception]
    chosen: Offer | None
    refusal: str | None


def lesson_plan(spec: StepSpec[T], around: Surroundings, item: Item) -> Plan[Lesson]:
    """Ask every tier of a step's route about one item, the strongest first.

    Raises what a tier raises that is down: nothing is known of the item then. So it is where there
    is no label, and the strongest tier's reply cannot be used.
    """
    step = yield from begun(spec, around)
    rule = route_of(step)
    told = dict[str, Told[T]]()
    for tier in reversed(step.chain.tiers):
        told[tier.name] = yield from _told(step, tier)
    best = told[step.chain.strongest.name].value
    wanted = best if item.label is None else spec.returns.read(label_text(spec, item))
    if wanted is None:
        raise UnparseableReplyError("Without a label the strongest tier's reply must be usable.")
    return Lesson(
        item.key,
        around.now(),
        route_binding(step, rule),
        ask_of(step.request),
        step.request.stratum,
        told,
        {
            name: each_.value is not None and rule.agree(each_.value, wanted)
            for name, each_ in told.items()
        },
    )


def route_of(step: Step[Any]) -> Route:
    """Return a step's route. Raises ConfigError without one."""
    if step.spec.route is None:
        raise ConfigError(
            f"{step.spec.name} has no route. Write @llm_task(route=Route(to=..., budget_usd=...))."
        )
    return step.spec.route


def _told(step: Step[T], tier: NamedTier) -> Plan[Told[T]]:
    key = request_key(step.request, ("route learning", tier.identity, *step.recordings))
    terms, now = step.terms, step.around.now()
    entry: Entry | None = None if terms is None else (yield Find(key))
    if entry is not None and isinstance(entry.content, Stored) and entry.fresh_until > now:
        kept = entry.content
        return Told(kept.text, step.spec.returns.read(kept.text), kept.cost_usd)
    trail = Trail()
    try:
        parsed = yield from ask_tier(Question(step.request, step.spec.returns.read, trail), tier)
    except UnparseableReplyError:
        return Told("", None, trail.cost_usd)
    reply = parsed.reply
    if reply.is_cut_off:
        return Told("", None, trail.cost_usd)
    if terms is not None:
        stored = Stored(
            reply.text, reply.tier, reply.deployment, reply.model, reply.usage, trail.cost_usd
        )
        until = now + _FRESH_S
        yield Keep(key, Entry(stored, step.labels(terms), now, until, until))
    return Told(reply.text, parsed.value, trail.cost_usd)


def learn_step_route(
    step: LLMTask[..., Any], items: Sequence[Item], ended: Callable[[], None] = lambda: None
) -> RouteLearned:
    """Ask all tiers about items, learn the step's route, and keep it: it is in force at once.

    An item that is there twice counts once. `ended` is called at each item's end. Raises
    ConfigError for what cannot be learned from, StoreError where it cannot be kept.
    """
    places = dict[str, int]()
    for at, item in enumerate(items):
        places.setdefault(item.key, at)
    once = [items[at] for at in places.values()]
    check_askable(step, once)
    mine = hands()
    around = mine.surroundings(None, None)
    rule = route_of(drive(begun(step.spec, around), mine, prompt_call(step, once[0])))
    for item in once:
        if item.label is not None:
            label_text(step.spec, item)

    def ask(row: Mapping[str, Any]) -> Lesson:
        item: Item = row["item"]
        return drive(lesson_plan(step.spec, around, item), mine, prompt_call(step, item))

    for _ in range(len(items) - len(once)):
        ended()
    rows = [{"item": item} for item in once]
    found = each(ask, rows, mine.settings.batch.concurrency, lambda _: ended())
    errors = {
        at: one
        for at, one in zip(places.values(), found, strict=True)
        if isinstance(one, Exception)
    }
    route = learned_from(step.name, [one for one in found if isinstance(one, Lesson)])
    mine.routes.add(route)
    choice = route.choose(rule)
    if isinstance(choice, Refusal):
        return RouteLearned(route, errors, None, choice.reason)
    return RouteLearned(route, errors, choice, None)


def learned_from(step: str, lessons: Sequence[Lesson]) -> LearnedRoute:
    """Return the route that lessons teach. Raises ConfigError for too few, or of several prompts.

    An item's hash says whether it teaches or measures, with however many others it is used.
    """
    if not lessons:
        raise ConfigError("No item was answered by all tiers. See the errors of the first ones.")
    if len({each_.bound_to.model_dump_json() for each_ in lessons}) > 1:
        raise ConfigError(
            "The items were asked with different prompts or models. What varies belongs into the "
            "ask, or give Prompt(template=...) a name for all such prefixes."
        )
    learns = np.array([int(each_.item[:8], 16) < _LEARN_SHARE * 2**32 for each_ in lessons])
    try:
        return learn_route(
            step,
            _recordings(lessons),
            learns,
            lessons[0].bound_to,
            at=min(each_.at for each_ in lessons),
        )
    except ValueError as exc:
        raise ConfigError(f"Nothing can be learned from {len(lessons)} items: {exc}") from exc


def _recordings(lessons: Sequence[Lesson]) -> Recordings:
    return Recordings(
        [each_.ask for each_ in lessons],
        [each_.stratum for each_ in lessons],
        {
            # Cheapest first again.
            name: Recorded(
                name,
                [each_.told[name].text for each_ in lessons],
                [_value(each_.told[name]) for each_ in lessons],
                np.array([each_.right[name] for each_ in lessons], np.float64),
                # An unknown price is no number.
                np.array([each_.told[name].cost_usd for each_ in lessons], np.float64),
            )
            for name in list(lessons[0].told)[::-1]
        },
    )


def _value(told: Told[Any]) -> str:
    return "" if told.value is None else text_of(told.value)
