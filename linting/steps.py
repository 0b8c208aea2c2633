"""The steps of a Python file, as its syntax tree tells of them. Imports and runs nothing.

A step is a call of `llm_task`, or of `with_options` that changes one.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field

from .found import OURS, SourceRead, StepFound, Suppression, Told
from .options import Options, place_of, step_of
from .scope import Scope, Unknown

_SUPPRESSION = re.compile(r"#\s*tierflow:\s*ignore\[([^\]]*)\]\s*(.*)")


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
            return next(each for each in self.found if each.place == place_of(call))
        given = _keywords(call)
        written = given.get("name")
        named = name if written is None else self.scope.value(written)
        return self._kept(call, Options(self.scope, given, _is_whole(call), named))

    def _change(self, call: ast.Call, changed: ast.expr) -> None:
        given, base = _keywords(call), None
        if isinstance(changed, ast.Name) and changed.id not in self.scope.hidden:
            base = self.named.get(changed.id)
        if call in self._seen or (base is None and not given.keys() & OURS):
            return
        written = given.get("name")
        name = base.name if base else Unknown(ast.unparse(changed))
        named = name if written is None else self.scope.value(written)
        self._kept(call, Options(self.scope, given, _is_whole(call), named, base, is_change=True))

    def _kept(self, call: ast.Call, options: Options) -> StepFound:
        step = step_of(call, options)
        self._seen.add(call)
        self.found.append(step)
        return step


def _keywords(call: ast.Call) -> dict[str, ast.expr]:
    return {each.arg: each.value for each in call.keywords if each.arg}


def _is_whole(call: ast.Call) -> bool:
    return all(each.arg for each in call.keywords)
