"""The rollouts of a Python file's steps, as its syntax tree tells of them. Runs nothing."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .found import Place, Told
from .options import place_of
from .scope import Build, Scope, Unknown

_METRICS: Mapping[str, str] = {
    "cost_per_task": "limit",
    "error_rate": "limit",
    "p95_latency": "limit",
    "quality": "evaluation",
}
"""What makes a metric, and its first argument."""

_ARMS: Mapping[str, int] = {"candidate": 1, "baseline": 2}
_EVALUATORS = frozenset({"checked", "groundedness", "judged", "safety"})
"""Those whose names are known: of the others only they themselves know them."""


@dataclass(frozen=True, slots=True)
class RolloutFound:
    """A step, and the rollout that it has. `step`, `tier`: the step's own. `name`: None for none.

    `terms`: its arguments but the arms, metrics as {"metric": kind, ...}. `arms`: what each arm
    changes, by argument; None where it is left out. `evaluations`: what `evaluate=` yields.
    """

    name: Told[str] | None
    place: Place
    step: Told[str]
    tier: Told[str]
    terms: Told[Mapping[str, Any]]
    arms: Mapping[str, Told[Mapping[str, Any]] | None]
    evaluations: Told[frozenset[str]]


def read_rollouts(source: str) -> list[RolloutFound]:
    """Read the steps of a file. Raises SyntaxError, also for what cannot be a file's text."""
    try:
        module = ast.parse(source)
    except (ValueError, RecursionError) as exc:
        raise SyntaxError(str(exc)) from exc
    scope = Scope.of(module)
    return [_found(scope, name, call) for name, call in _steps(module, scope)]


def _steps(module: ast.Module, scope: Scope) -> Iterator[tuple[Told[str], ast.Call]]:
    seen = set[ast.Call]()
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for each in node.decorator_list:
                if isinstance(each, ast.Call) and scope.origin(each.func) == "llm_task":
                    seen.add(each)
                    yield node.name, each
    for node in ast.walk(module):
        match node:
            case ast.Call(
                func=ast.Attribute(value=changed, attr="with_options"), keywords=keywords
            ) if any(each.arg == "rollout" for each in keywords):
                yield Unknown(ast.unparse(changed)), node
            case ast.Call() if node not in seen and scope.origin(node.func) == "llm_task":
                yield Unknown("its function"), node
            case _:
                pass


def _found(scope: Scope, name: Told[str], call: ast.Call) -> RolloutFound:
    given = {each.arg: each.value for each in call.keywords if each.arg}
    written = given.get("rollout")
    step = RolloutFound(
        name=None,
        place=place_of(written or call),
        step=scope.value(given["name"]) if "name" in given else name,
        tier=scope.value(given["tier"]) if "tier" in given else Unknown("tier"),
        terms={},
        arms={},
        evaluations=_evaluations(scope, given.get("evaluate")),
    )
    built = None if written is None else scope.build(written)
    if built is None:
        return step
    if isinstance(built, Unknown) or built.kind != "Rollout":
        lost = built if isinstance(built, Unknown) else Unknown(built.kind)
        return replace(step, name=lost, terms=lost)
    return replace(
        step,
        name=scope.value(built.get("name", 0) or Unknown("name")),
        terms=_terms(scope, built),
        arms={arm: _arm(scope, built.get(arm, at)) for arm, at in _ARMS.items()},
    )


def _terms(scope: Scope, built: Build) -> Told[Mapping[str, Any]]:
    if not built.whole:
        return Unknown("Rollout(**...)")
    found = dict[str, Any]()
    for key, written in built.keywords.items():
        if key in ("name", *_ARMS):
            continue
        metrics = key in ("guardrails", "signals")
        value = _metrics(scope, written) if metrics else scope.value(written)
        if isinstance(value, Unknown):
            return value
        found[key] = value
    return found


def _metrics(scope: Scope, written: ast.expr) -> Told[list[Mapping[str, Any]]]:
    listed = scope.follow(written)
    if not isinstance(listed, ast.List | ast.Tuple):
        return Unknown(ast.unparse(written))
    found = list[Mapping[str, Any]]()
    for each in listed.elts:
        built = scope.build(each)
        if not isinstance(built, Build) or built.kind not in _METRICS or not built.whole:
            return Unknown(ast.unparse(each))
        arguments = dict(zip([_METRICS[built.kind]], built.arguments, strict=False))
        values = {key: scope.value(value) for key, value in {**arguments, **built.keywords}.items()}
        if lost := [value for value in values.values() if isinstance(value, Unknown)]:
            return lost[0]
        found.append({"metric": built.kind, **values})
    return found


def _arm(scope: Scope, written: ast.expr | Unknown | None) -> Told[Mapping[str, Any]] | None:
    if written is None:
        return None
    built = scope.build(written)
    if not isinstance(built, Build):
        return built
    if built.kind != "Variant" or not built.whole:
        return Unknown(built.kind)
    positions = ("prompt", "tier", "model", "sampling", "prompt_name", "cascade")
    arguments = dict(zip(positions, built.arguments, strict=False)) | dict(built.keywords)
    # What is no literal, such as a prompt function, still changes something.
    values = {key: scope.value(value) for key, value in arguments.items()}
    registered = scope.build(arguments["prompt"]) if "prompt" in arguments else None
    if isinstance(registered, Build) and registered.kind == "prompt":
        # prompt("triage@v2") is the registry's as much as prompt_name="triage@v2".
        named = registered.get("name", 0) or Unknown("name")
        values |= {"prompt": None, "prompt_name": scope.value(named)}
    return {key: value for key, value in values.items() if value is not None}


def _evaluations(scope: Scope, written: ast.expr | None) -> Told[frozenset[str]]:
    if written is None:
        return frozenset()
    listed = scope.follow(written)
    if not isinstance(listed, ast.List | ast.Tuple):
        return Unknown(ast.unparse(written))
    found = set[str]()
    for each in listed.elts:
        built = scope.build(each)
        if not isinstance(built, Build) or built.kind not in _EVALUATORS:
            return Unknown(ast.unparse(each))
        named = built.get("name", 0) if built.kind in ("checked", "judged") else None
        name = built.kind if named is None else scope.value(named)
        if not isinstance(name, str):
            return Unknown(ast.unparse(each))
        found.add(name)
    return frozenset(found)
