"""Route learning: what a step's tiers answer to items, and the route that follows from it.

What a tier said is kept in the exact cache for a day: after Ctrl-C or a crash only what is missing
is asked. Nothing else of prompts and replies is kept but words that three or more asks share.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from ...caching import Entry, Find, Keep, request_key
from ...errors import ConfigError, UnparseableReplyError
from ...request import Stored
from ...routing import NamedTier, Question, Route, ask_of, ask_tier, text_of
from ...routing.gate import Binding
from ...routing.learned import Recorded, Recordings, Refusal
from ...routing.routes.learned import LearnedRoute, Offer
from ...routing.routes.learning import learn_route
from ..aside import Aside
from ..decorator import LLMTask
from ..hands import hands
from ..plan import begun
from ..routed import route_binding
from ..spec import StepSpec, Surroundings
from ..step import Plan, Step
from .asking import FRESH_S, ask_each, begin
from .items import Item, falls_below, label_text

T = TypeVar("T")

_LEARN_SHARE = 0.6
"""So many of the items teach; the others measure what was learned."""


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

    `cost_usd`: of what was asked for now; None if a price is unknown. `chosen`: the way that the
    step goes from now on; None if it goes none, and `refusal` says why.
    """

    route: LearnedRoute
    errors: Mapping[int, Exception]
    cost_usd: float | None
    chosen: Offer | None
    refusal: str | None


def lesson_plan(spec: StepSpec[T], around: Surroundings, item: Item, aside: Aside) -> Plan[Lesson]:
    """Ask every tier of a step's route about one item, the strongest first.

    Raises what a tier raises that is down: nothing is known of the item then. So it is where there
    is no label, and the strongest tier's reply cannot be used.
    """
    step = yield from begun(spec, around)
    lesson: Lesson = yield aside.within(step, spec.tier, _lesson(step, item, aside))
    return lesson


def _lesson(step: Step[T], item: Item, aside: Aside) -> Plan[Lesson]:
    rule, spec, told = route_of(step), step.spec, dict[str, Told[T]]()
    for tier in reversed(step.chain.tiers):
        told[tier.name] = yield from _told(step, tier, aside)
    best = told[step.chain.strongest.name].value
    wanted = best if item.label is None else spec.returns.read(label_text(spec, item))
    if wanted is None:
        raise UnparseableReplyError("Without a label the strongest tier's reply must be usable.")
    return Lesson(
        item.key,
        step.around.now(),
        route_binding(step, rule),
        ask_of(step.request),
        step.request.stratum,
        told,
        {
            name: each.value is not None and rule.agree(each.value, wanted)
            for name, each in told.items()
        },
    )


def route_of(step: Step[Any]) -> Route:
    """Return a step's route. Raises ConfigError without one."""
    if step.spec.route is None:
        raise ConfigError(
            f"{step.spec.name} has no route. Write @llm_task(route=Route(to=..., budget_usd=...))."
        )
    return step.spec.route


def _told(step: Step[T], tier: NamedTier, aside: Aside) -> Plan[Told[T]]:
    key = request_key(step.request, ("route learning", tier.identity, *step.recordings))
    terms, now = step.terms, step.around.now()
    entry: Entry | None = None if terms is None else (yield Find(key))
    if entry is not None and isinstance(entry.content, Stored) and entry.fresh_until > now:
        kept = entry.content
        return Told(kept.text, step.spec.returns.read(kept.text), kept.cost_usd)
    trail = aside.trail(step)
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
        until = now + FRESH_S
        yield Keep(key, Entry(stored, step.labels(terms), now, until, until))
    return Told(reply.text, parsed.value, trail.cost_usd)


def learn_step_route(
    step: LLMTask[..., Any], items: Sequence[Item], ended: Callable[[], None] = lambda: None
) -> RouteLearned:
    """Ask all tiers about items, learn the step's route, and keep it: it is in force at once.

    An item that is there twice counts once. `ended` is called at each item's end. Raises
    ConfigError for what cannot be learned from, StoreError where it cannot be kept.
    """
    rule = route_of(begin(step, items))

    def plan(around: Surroundings, item: Item, aside: Aside) -> Plan[Lesson]:
        return lesson_plan(step.spec, around, item, aside)

    asked = ask_each(step, items, "route", plan, ended)
    route = learned_from(step.name, asked.found)
    hands().routes.add(route)
    choice = route.choose(rule)
    if isinstance(choice, Refusal):
        return RouteLearned(route, asked.errors, asked.cost_usd, None, choice.reason)
    return RouteLearned(route, asked.errors, asked.cost_usd, choice, None)


def learned_from(step: str, lessons: Sequence[Lesson]) -> LearnedRoute:
    """Return the route that lessons teach. Raises ConfigError for too few, or of several prompts.

    An item's hash says whether it teaches or measures, with however many others it is used.
    """
    if not lessons:
        raise ConfigError("No item was answered by all tiers. See the errors of the first ones.")
    if len({each.bound_to.model_dump_json() for each in lessons}) > 1:
        raise ConfigError(
            "The items were asked with different prompts or models. What varies belongs into the "
            "ask, or give Prompt(template=...) a name for all such prefixes."
        )
    learns = np.array([falls_below(_LEARN_SHARE, each.item) for each in lessons])
    try:
        return learn_route(
            step,
            _recordings(lessons),
            learns,
            lessons[0].bound_to,
            at=min(each.at for each in lessons),
        )
    except ValueError as exc:
        raise ConfigError(f"Nothing can be learned from {len(lessons)} items: {exc}") from exc


def _recordings(lessons: Sequence[Lesson]) -> Recordings:
    return Recordings(
        [each.ask for each in lessons],
        [each.stratum for each in lessons],
        {
            # Cheapest first again.
            name: Recorded(
                name,
                [each.told[name].text for each in lessons],
                [_value(each.told[name]) for each in lessons],
                np.array([each.right[name] for each in lessons], np.float64),
                # An unknown price is no number.
                np.array([each.told[name].cost_usd for each in lessons], np.float64),
            )
            for name in list(lessons[0].told)[::-1]
        },
    )


def _value(told: Told[Any]) -> str:
    return "" if told.value is None else text_of(told.value)
