"""What the names in a Python file stand for, read from its syntax tree. Imports nothing.

What the tree does not settle is `Unknown`: parameters, loop variables, names bound twice, calls.
"""

import ast
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, TypeAlias

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_ENUMS = frozenset({"Enum", "IntEnum", "StrEnum"})
_OPEN_TYPES = frozenset(
    {"bytes", "dict", "float", "frozenset", "int", "list", "set", "str", "tuple"}
)
_MOST_HOPS = 10


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that the file alone does not tell. `source`: how it is written there."""

    source: str


@dataclass(frozen=True, slots=True)
class Build:
    """A call of a name that is known, such as Cascade(...). `whole`: no * or ** in it."""

    kind: str
    arguments: Sequence[ast.expr]
    keywords: Mapping[str, ast.expr]
    whole: bool

    def get(self, name: str, position: int | None = None) -> ast.expr | Unknown | None:
        """Return an argument by name or position, None if it is left out."""
        if name in self.keywords:
            return self.keywords[name]
        if position is not None and position < len(self.arguments):
            return self.arguments[position]
        return None if self.whole else Unknown(f"the {name} of {self.kind}(**...)")


Choices: TypeAlias = int | Unknown | None
"""How many values a type has; None: no end of them."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What names stand for at one place of a file. `hidden`: names bound in functions around it.

    `imported`: what a name is called where it comes from, None for a module. `constants`: names
    that the module binds once, to a value. `classes`: those that it defines.
    """

    imported: Mapping[str, str | None]
    constants: Mapping[str, ast.expr]
    classes: Mapping[str, ast.ClassDef]
    bound: frozenset[str]
    hidden: frozenset[str] = field(default=frozenset())

    @classmethod
    def of(cls, module: ast.Module) -> "Scope":
        """Read a module's own names."""
        imported, constants = dict[str, str | None](), dict[str, ast.expr]()
        classes = dict[str, ast.ClassDef]()
        times = Counter(_bound_in(module.body))
        for node in ast.walk(module):
            match node:
                case ast.ImportFrom(names=names):
                    imported |= {each.asname or each.name: each.name for each in names}
                case ast.Import(names=names):
                    imported |= {each.asname or each.name.split(".")[0]: None for each in names}
                case ast.Global(names=names):
                    times.update(dict.fromkeys(names, 2))
                case _:
                    pass
        for statement in module.body:
            match statement:
                case (
                    ast.Assign(targets=[ast.Name(id=name)], value=value)
                    | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
                ) if times[name] == 1:
                    constants[name] = value
                case ast.ClassDef(name=name) if times[name] == 1:
                    classes[name] = statement
                case _:
                    pass
        return cls(imported, constants, classes, frozenset(times))

    def inside(self, body: ast.AST) -> "Scope":
        """Return the scope within a function or a class: its own names hide the module's."""
        names = {name for each in ast.iter_child_nodes(body) for name in _bound_by(each)}
        if isinstance(body, _FUNCTIONS):
            names |= {each.arg for each in ast.walk(body.args) if isinstance(each, ast.arg)}
        hidden = self.hidden | names
        return Scope(self.imported, self.constants, self.classes, self.bound, hidden)

    def origin(self, node: ast.expr) -> str | None:
        """Return what a name or attribute is called where it comes from, None if nobody knows."""
        match node:
            case ast.Attribute(value=ast.Name(id=module), attr=name):
                # None stands for a module; a name that is not there is not imported.
                return name if self.imported.get(module, "") is None else None
            case ast.Name(id=name) if name in self.imported:
                # An import in a function is bound there, and still the same thing.
                return self.imported[name]
            case ast.Name(id=name) if name not in self.bound | self.hidden:
                return name
            case _:
                return None

    def follow(self, node: ast.expr) -> ast.expr:
        """Return what a name stands for, if that is one value for all the file."""
        for _ in range(_MOST_HOPS):
            if not isinstance(node, ast.Name) or node.id in self.hidden:
                break
            if node.id not in self.constants:
                break
            node = self.constants[node.id]
        return node

    def value(self, node: ast.expr | Unknown) -> Any:
        """Return a literal's value, else Unknown."""
        if isinstance(node, Unknown):
            return node
        try:
            return ast.literal_eval(self.follow(node))
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return unknown(node)

    def build(self, node: ast.expr | Unknown) -> Build | Unknown | None:
        """Return a call of an imported name; None for None, Unknown for all else."""
        if isinstance(node, Unknown):
            return node
        found = self.follow(node)
        if isinstance(found, ast.Constant) and found.value is None:
            return None
        if not isinstance(found, ast.Call) or (kind := self.origin(found.func)) is None:
            return unknown(node)
        keywords = {each.arg: each.value for each in found.keywords if each.arg}
        whole = len(keywords) == len(found.keywords)
        starred = any(isinstance(each, ast.Starred) for each in found.args)
        # Behind a * nobody knows which argument stands where.
        return Build(kind, () if starred else found.args, keywords, whole and not starred)

    def choices(self, node: ast.expr | Unknown) -> Choices:  # noqa: PLR0911  # one a kind of type
        """Return how many values a type has that is written here."""
        if isinstance(node, Unknown):
            return node
        match found := self.follow(node):
            case ast.Constant(value=None):
                return 1
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return _summed([self.choices(left), self.choices(right)])
            case ast.Subscript(value=generic, slice=inner):
                return self._subscripted(found, self.origin(generic), inner)
            case ast.Name(id=name) if name in self.classes and name not in self.hidden:
                return self._class(self.classes[name])
            case ast.Name() | ast.Attribute():
                match self.origin(found):
                    case "bool":
                        return 2
                    case str(name) if name in _OPEN_TYPES:
                        return None
                    case _:
                        return unknown(node)
            case _:
                return unknown(node)

    def _subscripted(self, node: ast.expr, generic: str | None, inner: ast.expr) -> Choices:
        parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
        match generic:
            case "Literal":
                counts = [self._literals(each) for each in parts]
                return _summed(counts)
            case "Optional":
                return _summed([self.choices(inner), 1])
            case "Union":
                return _summed([self.choices(each) for each in parts])
            case "Annotated":
                return self.choices(parts[0])
            case str(name) if name in _OPEN_TYPES:
                return None
            case _:
                return unknown(node)

    def _literals(self, node: ast.expr) -> Choices:
        # Literal[A, "b"] may name another Literal, but no type.
        return 1 if not isinstance(self.value(node), Unknown) else self.choices(node)

    def _class(self, found: ast.ClassDef) -> Choices:
        bases = {self.origin(each) for each in found.bases}
        if bases & _ENUMS:
            members = [name for name in _bound_in(found.body) if name[0] != "_"]
            methods = {each.name for each in found.body if isinstance(each, ast.FunctionDef)}
            return len(set(members) - methods)
        fields = [each.annotation for each in found.body if isinstance(each, ast.AnnAssign)]
        if bases != {"BaseModel"} or not fields:
            return Unknown(found.name)
        counts = [self.choices(each) for each in fields]
        if None in counts:
            return None
        open_ended = next((each for each in counts if isinstance(each, Unknown)), None)
        return open_ended or prod(each for each in counts if isinstance(each, int))


def unknown(node: ast.expr) -> Unknown:
    """Return the value that nobody knows, in its own words, cut short."""
    source = ast.unparse(node).replace("\n", " ")
    return Unknown(source if len(source) <= 40 else f"{source[:37]}...")


def _summed(counts: Sequence[Choices]) -> Choices:
    if None in counts:
        return None
    first = next((each for each in counts if isinstance(each, Unknown)), None)
    return first or sum(each for each in counts if isinstance(each, int))


def _bound_in(body: Sequence[ast.stmt]) -> Iterator[str]:
    """Yield each name as often as statements bind it, without those within functions."""
    for statement in body:
        yield from _bound_by(statement)


def _bound_by(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
            return
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            yield name
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            yield from ((each.asname or each.name).split(".")[0] for each in names)
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
            yield name
        case ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
            yield name
        case ast.Lambda():
            return
        case _:
            pass
    for child in ast.iter_child_nodes(node):
        yield from _bound_by(child)
