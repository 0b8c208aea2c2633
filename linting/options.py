"""A step's options, as a file's syntax tree tells of them. Runs nothing."""

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from .found import MAX_LOSS, Kept, Place, Rule, StepFound, Told
from .scope import Build, Choices, Scope, Unknown, unknown

_JUDGES: Mapping[str, Mapping[str, int | None]] = {
    "agreement": {"tier": 0},
    "confidence": {},
    "matches": {},
    "model_judge": {"tier": 0},
    "pairwise_judge": {"tier": 0, "against": None},
    "passes": {},
    "schema": {},
    "trained": {"helper": None},
    "unit_tests": {},
}
"""Which arguments of a judge name the tiers that it asks, and their position, None for none."""


_EVALUATORS: Mapping[str, str | None] = {
    "autoevals_scorer": None,
    "checked": None,
    "groundedness": "standard",
    "judged": None,
    "pydantic_evaluator": None,
    "safety": "standard",
}
"""The tier that an evaluator asks which names none."""


@dataclass(frozen=True, slots=True)
class Options:
    """A step's options as they are written, with those of the step that it changes below them.

    `whole`: none is hidden in a ** of its own.
    """

    scope: Scope
    given: Mapping[str, ast.expr]
    whole: bool
    name: Told[str]
    base: StepFound | None = None
    is_change: bool = False

    def get(self, option: str) -> ast.expr | Unknown | None:
        """Return an option as it is written here, None if it is left out."""
        if option in self.given:
            return self.given[option]
        return None if self.whole else Unknown("**options")

    def told(self, option: str, default: Any) -> Any:
        """Return an option's literal value; left out, what the base has, or the default."""
        written = self.get(option)
        return self.left_out(option, default) if written is None else self.scope.value(written)

    def left_out(self, name: str, default: Any) -> Any:
        """Return what holds for an option that is not written here."""
        if self.base is not None:
            return getattr(self.base, name)
        return Unknown("the step that is changed") if self.is_change else default


def place_of(node: ast.expr) -> Place:
    """Return where an expression begins."""
    return Place(node.lineno, node.col_offset + 1)


def step_of(call: ast.Call, options: Options) -> StepFound:
    """Return the step that a call makes or changes."""
    return StepFound(
        name=options.name,
        place=place_of(call),
        lines=(call.lineno, call.end_lineno or call.lineno),
        at={name: place_of(value) for name, value in options.given.items()},
        tier=_text(options.told("tier", Unknown("tier"))),
        choices=_returned(options, options.get("returns")),
        reason=options.told("reason", None),
        tags=_names(options.told("tags", ())),
        cascade=_cascade(options),
        route=_route(options),
        cache=_cache(options),
        temperature=_temperature(options),
        candidate=_candidate(options),
        evaluators=_evaluators(options),
        base=options.base,
    )


def _returned(options: Options, returns: ast.expr | Unknown | None) -> Choices:
    if returns is not None:
        return options.scope.choices(returns)
    choices: Choices = options.left_out("choices", None)
    return choices


def _text(value: Any) -> Told[str]:
    return value if isinstance(value, str | Unknown) else Unknown(repr(value))


def _names(value: Any) -> Told[frozenset[str]]:
    if isinstance(value, Unknown):
        return value
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return frozenset(map(str, cast("Iterable[object]", value)))
    return Unknown(repr(value))


def _cascade(options: Options) -> Told[Rule | None]:
    written, scope = options.get("cascade"), options.scope
    if written is None:
        rule: Told[Rule | None] = options.left_out("cascade", None)
        return rule
    built = scope.build(written)
    if not isinstance(built, Build):
        return built
    if built.kind != "Cascade":
        return Unknown(built.kind)
    to, judge = scope.value(built.get("to", 0) or Unknown("to")), built.get("judge", 1)
    max_loss = built.get("max_loss", 3)
    return Rule(
        to=_stronger(to),
        max_loss=MAX_LOSS if max_loss is None else scope.value(max_loss),
        judges=_judges(scope, judge or Unknown("judge")),
    )


def _route(options: Options) -> Told[tuple[str, ...] | None]:
    written, scope = options.get("route"), options.scope
    if written is None:
        route: Told[tuple[str, ...] | None] = options.left_out("route", None)
        return route
    built = scope.build(written)
    if not isinstance(built, Build):
        return built
    if built.kind != "Route":
        return Unknown(built.kind)
    return _stronger(scope.value(built.get("to", 0) or Unknown("to")))


def _stronger(to: Any) -> Told[tuple[str, ...]]:
    match to:
        case str():
            return (to,)
        case tuple():
            return tuple(map(str, cast("tuple[object, ...]", to)))
        case _:
            return to if isinstance(to, Unknown) else Unknown(repr(to))


def _judges(scope: Scope, judge: ast.expr | Unknown) -> Told[tuple[str, ...]]:
    built = scope.build(judge)
    if not isinstance(built, Build):
        return built or Unknown("judge")
    if built.kind not in _JUDGES:
        return Unknown(built.kind)
    named = list[str]()
    for argument, position in _JUDGES[built.kind].items():
        tier = built.get(argument, position)
        value = None if tier is None else scope.value(tier)
        if isinstance(value, Unknown):
            return value
        if value is not None:
            named.append(str(value))
    return tuple(named)


def _cache(options: Options) -> Told[Kept | None]:
    written, scope = options.get("cache"), options.scope
    if written is None:
        kept: Told[Kept | None] = options.left_out("cache", Kept(any_temperature=False, judge=None))
        return kept
    built = scope.build(written)
    if not isinstance(built, Build):
        return built
    if built.kind not in {"ExactCache", "SemanticCache"}:
        return Unknown(built.kind)
    sampled, judge = built.get("any_temperature"), built.get("judge")
    return Kept(
        any_temperature=False if sampled is None else scope.value(sampled),
        judge=None if judge is None else scope.value(judge),
    )


def _temperature(options: Options) -> Told[float | None]:
    written, scope = options.get("sampling"), options.scope
    if written is None:
        temperature: Told[float | None] = options.left_out("temperature", None)
        return temperature
    built = scope.build(written)
    if not isinstance(built, Build):
        return built
    if built.kind != "Sampling":
        return Unknown(built.kind)
    value = built.get("temperature")
    return None if value is None else scope.value(value)


def _candidate(options: Options) -> Told[str | None]:
    written, scope = options.get("rollout"), options.scope
    if written is None:
        candidate: Told[str | None] = options.left_out("candidate", None)
        return candidate
    built = scope.build(written)
    if not isinstance(built, Build):
        return built
    variant = scope.build(built.get("candidate", 1) or Unknown("candidate"))
    if not isinstance(variant, Build):
        return variant
    tier = variant.get("tier", 1)
    return None if tier is None else scope.value(tier)


def _evaluators(options: Options) -> Told[tuple[Told[str], ...]]:
    written, scope = options.get("evaluate"), options.scope
    if written is None:
        asked: Told[tuple[Told[str], ...]] = options.left_out("evaluators", ())
        return asked
    if isinstance(written, Unknown):
        return written
    found = scope.follow(written)
    if not isinstance(found, ast.List | ast.Tuple):
        return unknown(written)
    tiers = (_evaluator(scope, each) for each in found.elts)
    return tuple(tier for tier in tiers if tier is not None)


def _evaluator(scope: Scope, written: ast.expr) -> Told[str] | None:
    built = scope.build(written)
    if not isinstance(built, Build):
        return built or unknown(written)
    if built.kind not in _EVALUATORS:
        return Unknown(built.kind)
    tier = built.get("tier")
    named = _EVALUATORS[built.kind] if tier is None else scope.value(tier)
    return named if named is None else _text(named)
