"""Ground: the steps of a Python file, as its syntax tree tells of them. Imports and runs nothing.

A step is a call of `llm_task`, or of `with_options` that changes one.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar, cast

from .lint_scope import Build, Choices, Scope, Unknown

T = TypeVar("T")
Told: TypeAlias = T | Unknown
"""What a file says, or that it does not say it."""

OURS = frozenset(
    {"cache", "cascade", "deadline_s", "on_chunk", "reason", "rollout", "sampling", "tier"}
)
"""Options that only steps have: a `with_options` that takes one changes a step."""

_SUPPRESSION = re.compile(r"#\s*tierflow:\s*ignore\[([^\]]*)\]\s*(.*)")
_TIERLESS_JUDGES = frozenset({"confidence", "schema"})
MAX_LOSS = 0.01
"""What a cascade promises that says nothing of it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Line and column, both from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Rule:
    """A cascade: see `Cascade`. `judges`: the tiers that its judge asks."""

    to: Told[tuple[str, ...]]
    max_loss: Told[float | None]
    judges: Told[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Kept:
    """A cache: whether it keeps sampled answers, and the tier of its judge."""

    any_temperature: Told[bool]
    judge: Told[str | None]


@dataclass(frozen=True, slots=True)
class StepFound:
    """A step. `lines`: the first and the last of its call. `base`: the step that it changes.

    `choices`: how many results it can have. `at`: where its options stand.
    """

    name: Told[str]
    place: Place
    lines: tuple[int, int]
    at: Mapping[str, Place]
    tier: Told[str]
    choices: Choices
    reason: Told[str | None]
    tags: Told[frozenset[str]]
    cascade: Told[Rule | None]
    cache: Told[Kept | None]
    temperature: Told[float | None]
    candidate: Told[str | None]
    base: "StepFound | None" = None

    def where(self, option: str) -> Place:
        """Return where an option stands, else where the step does."""
        return self.at.get(option, self.place)


@dataclass(frozen=True, slots=True)
class Suppression:
    """A comment `# tierflow: ignore[TF001] why`."""

    line: int
    rules: frozenset[str]
    why: str


@dataclass(frozen=True, slots=True)
class SourceRead:
    """What a file holds."""

    steps: Sequence[StepFound]
    suppressions: Sequence[Suppression]


def read_source(source: str) -> SourceRead:
    """Read a file's text. Raises SyntaxError, also for what cannot be a file's text."""
    try:
        module, suppressions = ast.parse(source), tuple(_suppressions(source))
    except (ValueError, RecursionError, tokenize.TokenError) as exc:
        raise SyntaxError(str(exc)) from exc
    finder = _Finder(Scope.of(module))
    finder.visit(module)
    return SourceRead(finder.found, suppressions)


def _suppressions(source: str) -> Iterator[Suppression]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and (found := _SUPPRESSION.search(token.string)):
            rules = frozenset(each.strip() for each in found[1].split(",") if each.strip())
            yield Suppression(token.start[0], rules, found[2].strip(" \t:-—"))


@dataclass(frozen=True, slots=True)
class _Options:
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


@dataclass(slots=True)
class _Finder(ast.NodeVisitor):
    scope: Scope
    found: list[StepFound] = field(default_factory=list[StepFound])
    named: dict[str, StepFound] = field(default_factory=dict[str, StepFound])
    _seen: set[ast.Call] = field(default_factory=set[ast.Call])

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:  # as ast calls it
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:  # likewise
        self._function(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:  # likewise
        self._within(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:  # likewise
        self._within(node)

    def visit_Assign(self, node: ast.Assign) -> None:  # likewise
        before = len(self.found)
        self.generic_visit(node)
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call()):
                if self.scope.constants.get(name) is node.value and len(self.found) > before:
                    self.named[name] = self.found[-1]
            case _:
                pass

    def visit_Call(self, node: ast.Call) -> None:  # as ast calls it
        match node:
            case ast.Call(func=ast.Call() as inner, args=[ast.Name(id=name)]) if self._is_ours(
                inner
            ):
                self._add(inner, name)
            case ast.Call(func=ast.Attribute(value=changed, attr="with_options")):
                self._change(node, changed)
            case _ if self._is_ours(node):
                self._add(node, Unknown("its function"))
            case _:
                pass
        self.generic_visit(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for each in node.decorator_list:
            if isinstance(each, ast.Call) and self._is_ours(each):
                step = self._add(each, node.name)
                if node.name not in self.scope.hidden:
                    self.named[node.name] = step
            self.visit(each)
        self._within(node)

    def _within(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda
    ) -> None:
        outside, self.scope = self.scope, self.scope.inside(node)
        self.generic_visit(node)
        self.scope = outside

    def _is_ours(self, call: ast.Call) -> bool:
        return self.scope.origin(call.func) == "llm_task"

    def _add(self, call: ast.Call, name: Told[str]) -> StepFound:
        if call in self._seen:
            return next(each for each in self.found if each.place == _place(call))
        given = _keywords(call)
        written = given.get("name")
        named = name if written is None else self.scope.value(written)
        return self._kept(call, _Options(self.scope, given, _is_whole(call), named))

    def _change(self, call: ast.Call, changed: ast.expr) -> None:
        given, base = _keywords(call), None
        if isinstance(changed, ast.Name) and changed.id not in self.scope.hidden:
            base = self.named.get(changed.id)
        if call in self._seen or (base is None and not given.keys() & OURS):
            return
        written = given.get("name")
        name = base.name if base else Unknown(ast.unparse(changed))
        named = name if written is None else self.scope.value(written)
        self._kept(call, _Options(self.scope, given, _is_whole(call), named, base, is_change=True))

    def _kept(self, call: ast.Call, options: _Options) -> StepFound:
        step = _step(call, options)
        self._seen.add(call)
        self.found.append(step)
        return step


def _keywords(call: ast.Call) -> dict[str, ast.expr]:
    return {each.arg: each.value for each in call.keywords if each.arg}


def _is_whole(call: ast.Call) -> bool:
    return all(each.arg for each in call.keywords)


def _place(node: ast.expr) -> Place:
    return Place(node.lineno, node.col_offset + 1)


def _step(call: ast.Call, options: _Options) -> StepFound:
    return StepFound(
        name=options.name,
        place=_place(call),
        lines=(call.lineno, call.end_lineno or call.lineno),
        at={name: _place(value) for name, value in options.given.items()},
        tier=_text(options.told("tier", Unknown("tier"))),
        choices=_returned(options, options.get("returns")),
        reason=options.told("reason", None),
        tags=_names(options.told("tags", ())),
        cascade=_cascade(options),
        cache=_cache(options),
        temperature=_temperature(options),
        candidate=_candidate(options),
        base=options.base,
    )


def _returned(options: _Options, returns: ast.expr | Unknown | None) -> Choices:
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


def _cascade(options: _Options) -> Told[Rule | None]:
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
    if built.kind in _TIERLESS_JUDGES:
        return ()
    if built.kind not in {"agreement", "model_judge"}:
        return Unknown(built.kind)
    tier = built.get("tier", 0)
    value = None if tier is None else scope.value(tier)
    return value if isinstance(value, Unknown) else () if value is None else (str(value),)


def _cache(options: _Options) -> Told[Kept | None]:
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


def _temperature(options: _Options) -> Told[float | None]:
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


def _candidate(options: _Options) -> Told[str | None]:
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
