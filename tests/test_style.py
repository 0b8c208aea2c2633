"""The house rules that a linter does not know: arrows between rooms, exports, sizes, packaging."""

import ast
import importlib
import inspect
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tierflow
from tierflow import errors

ROOT = Path(tierflow.__file__).parents[1]
BEHIND = {
    "caching": {"tracing"},
    "linting": set[str](),
    "models": set[str](),
    "prompting": set[str](),
    "rollouts": {"tracing"},
    "routing": {"models", "tracing"},
    "serving": {"tracing"},
    "tasks": {"caching", "prompting", "rollouts", "routing", "serving", "tracing"},
    "tracing": set[str](),
}
"""The arrows. Every room may also import the ground: the files of tierflow/ itself."""

MAY_IMPORT = {**BEHIND, "cli": set(BEHIND)}
"""The command line shows all rooms to the outside, as tierflow/__init__.py does."""

PACKAGES = [
    "tierflow",
    *sorted(
        f"tierflow.{'.'.join(path.parent.relative_to(ROOT).parts)}"
        for room in MAY_IMPORT
        for path in (ROOT / room).rglob("__init__.py")
    ),
]
"""The rooms, and the closets in them."""

CODE = [path for room in MAY_IMPORT for path in sorted((ROOT / room).rglob("*.py"))]
GROUND = sorted((ROOT / "tierflow").glob("*.py"))
OUTSIDE = [
    path
    for folder in ("flows", "benchmarks", "docs", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
TEXTS = [
    *(path for pattern in ("*.md", "*.toml", "*.yaml", "Makefile") for path in ROOT.glob(pattern)),
    *(path for room in (*MAY_IMPORT, "docs", "flows") for path in (ROOT / room).rglob("*.md")),
]
MOST_LINES = 400
HEAVY = {
    "faiss",
    "litellm",
    "matplotlib",
    "sentence_transformers",
    "sqlalchemy",
    "torch",
    "transformers",
}


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Each import of a file: how many dots it starts with, and the dotted name after them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                yield from ((0, each.name) for each in names)
            case ast.ImportFrom(module=None, names=names, level=level):
                yield from ((level, each.name) for each in names)
            case ast.ImportFrom(module=str(module), level=level):
                yield level, module
            case _:
                pass


def first(name: str) -> str:
    return name.partition(".")[0]


def test_every_room_has_its_arrows_drawn_here() -> None:
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert rooms - {"tierflow", "tests", "benchmarks"} == MAY_IMPORT.keys()


@pytest.mark.parametrize("path", CODE, ids=shown)
def test_a_room_imports_only_along_the_arrows(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    out = len(path.relative_to(ROOT).parts)
    others = {first(name) for level, name in imports(path) if level == out}
    assert others & MAY_IMPORT.keys() <= MAY_IMPORT[room]


@pytest.mark.parametrize("path", CODE, ids=shown)
def test_inside_a_room_imports_of_ours_are_relative(path: Path) -> None:
    ours = {"tierflow", *MAY_IMPORT}
    assert not {name for level, name in imports(path) if level == 0 and first(name) in ours}
    inside = len(path.relative_to(ROOT).parts)
    assert max((level for level, _ in imports(path)), default=0) <= inside


@pytest.mark.parametrize("path", [path for path in GROUND if path.name != "__init__.py"], ids=shown)
def test_the_ground_imports_no_room(path: Path) -> None:
    rooms = MAY_IMPORT.keys()
    assert not {name for level, name in imports(path) if level and first(name) in rooms}
    assert not {name for level, name in imports(path) if not level and first(name) == "tierflow"}


@pytest.mark.parametrize("path", OUTSIDE, ids=shown)
def test_flows_and_tests_import_tierflow_as_a_user_would(path: Path) -> None:
    found = list(imports(path))
    assert not {name for level, name in found if not level and first(name) in MAY_IMPORT}
    if path.is_relative_to(ROOT / "flows"):
        assert not any(level for level, _ in found)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_room_exports_what_its_init_imports_sorted(name: str) -> None:
    room = importlib.import_module(name)
    tree = ast.parse(inspect.getsource(room))
    imported = [
        each.asname or each.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for each in node.names
    ]
    assert room.__all__ == sorted(imported)
    assert all(hasattr(room, each) for each in room.__all__)


@pytest.mark.parametrize("path", [*CODE, *GROUND, *OUTSIDE, *TEXTS], ids=shown)
def test_a_file_fits_in_a_head(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def test_no_file_is_called_utils() -> None:
    assert not [path for path in (*CODE, *GROUND, *OUTSIDE) if path.stem in {"utils", "helpers"}]


@pytest.mark.parametrize(
    "path",
    [*CODE, *GROUND, *(path for path in OUTSIDE if path.parent.name == "flows")],
    ids=shown,
)
def test_everything_public_says_what_it_is(path: Path) -> None:
    module = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(module)
    assert not list(undocumented(module))


def undocumented(holder: ast.Module | ast.ClassDef) -> Iterator[str]:
    for node in holder.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        is_overload = any(
            isinstance(each, ast.Name) and each.id == "overload" for each in node.decorator_list
        )
        if node.name.startswith("_") or is_overload:
            continue
        if not ast.get_docstring(node):
            yield f"{node.name} in line {node.lineno}"
        if isinstance(node, ast.ClassDef):
            yield from undocumented(node)


def test_the_tree_of_errors_in_the_docstring_is_the_real_one() -> None:
    drawn: dict[str, str | None] = {}
    above: list[str] = []
    for line in str(errors.__doc__).splitlines():
        if not (found := re.match(r"([│ ├└─]*)(\w+Error)\b", line)):
            continue
        depth, name = len(found[1]) // 4, found[2]
        del above[depth:]
        drawn[name] = above[-1] if above else None
        above.append(name)
    real = {
        name: None if kind is errors.TierflowError else kind.__bases__[0].__name__
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.TierflowError)
    }
    assert drawn == real


def test_importing_tierflow_loads_nothing_heavy() -> None:
    code = "import sys, tierflow; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not HEAVY & set(done.stdout.split())


@pytest.fixture(scope="module")
def project_file() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_room_is_packaged_mapped_and_linked(project_file: dict[str, Any]) -> None:
    build = project_file["tool"]["setuptools"]
    assert build["packages"] == PACKAGES
    assert build["package-dir"] == {f"tierflow.{room}": room for room in MAY_IMPORT}
    for room in MAY_IMPORT:
        link = ROOT / "tierflow" / room
        assert link.is_symlink()
        assert link.resolve() == ROOT / room


def test_the_wheel_holds_every_module_and_data_file(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", "80", reason="the build backend is not in this environment")
    # The build writes beside its sources, so it gets a copy of them.
    source = tmp_path / "source"
    leave_out = shutil.ignore_patterns("__pycache__")
    for folder in ("tierflow", *MAY_IMPORT):
        shutil.copytree(ROOT / folder, source / folder, symlinks=True, ignore=leave_out)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    options = ["--no-index", "--disable-pip-version-check", "--wheel-dir", str(tmp_path)]
    subprocess.run([*command, *options, str(source)], check=True)
    (built,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(built) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    folders = {name: ROOT / "/".join(name.split(".")[1:] or ["tierflow"]) for name in PACKAGES}
    assert packed == {
        f"{name.replace('.', '/')}/{path.name}"
        for name, folder in folders.items()
        for path in files(folder)
    }


def files(folder: Path) -> Iterator[Path]:
    """The files of a folder that a wheel must hold: all but what is written for readers."""
    return (path for path in folder.iterdir() if path.is_file() and path.suffix != ".md")
