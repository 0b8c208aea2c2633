"""`tierflow lint`. Reads Python files and settings; imports nothing of the files."""

import json
import sys
import time
import tokenize
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import click

from ..errors import StoreError, TierflowError
from ..linting import (
    Finding,
    Known,
    Linted,
    Note,
    Place,
    StepFound,
    Unknown,
    lint_source,
    read_source,
)
from ..linting.rules import RULES
from ..plural import plural
from ..request import Sampling
from ..routing import temperature_of
from ..routing.gate import Calibrations, open_calibrations
from ..routing.gate.calibration import MAX_AGE_S
from ..routing.routes import Routes, open_routes
from ..settings import Settings, settings

_LEFT_OUT = frozenset({"__pycache__", "node_modules", "site-packages"})

_EPILOG = "\n\n".join(
    (
        "Rules:",
        *(f"{rule}  {title}" for rule, title in RULES.items()),
        (
            "A comment `# tierflow: ignore[TF001] why` on a line of the decorator suppresses a "
            "rule; without a why it does not count."
        ),
        "Exit codes: 0 nothing found, 1 findings, 2 not understood (or wrong settings).",
    )
)


class _MisuseError(click.ClickException):
    exit_code = 2


@click.command("lint", epilog=_EPILOG)
@click.argument(
    "paths",
    nargs=-1,
    required=True,
    metavar="PATH...",
    type=click.Path(exists=True, path_type=Path),
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")
def lint(*, paths: Sequence[Path], as_json: bool) -> None:
    """Check every @llm_task in Python files and folders, without importing them.

    Tiers and [policy] are those of the nearest tierflow.toml above the working directory. The store
    in force is asked which judges are calibrated; without one, none is. What is no literal is said
    to be unknown, not guessed.
    """
    files = list(python_files(paths))
    if not files:
        raise click.UsageError(f"No Python file is in {', '.join(map(str, paths))}. Name another.")
    try:
        with _known() as (known, missed):
            checked = [_checked(path, known) for path in files]
    except TierflowError as exc:
        raise _MisuseError(str(exc)) from exc
    steps = [step for _, _, found in checked for step in found]
    lost = [*missed, *_lost_tags(known.settings, steps)]
    if as_json:
        click.echo(json.dumps(_as_json(checked, lost), indent=2))
    else:
        _print(checked, lost, len(steps))
    if any(linted.findings for _, linted, _ in checked):
        sys.exit(1)


_Checked = tuple[Path, Linted, Sequence[StepFound]]


def python_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the Python files among paths and below folders, each once, without hidden folders."""
    seen = set[Path]()
    for path in paths:
        below = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        for each in below:
            folders = each.relative_to(path).parts[:-1] if path.is_dir() else ()
            skipped = any(name.startswith(".") or name in _LEFT_OUT for name in folders)
            if not skipped and each.is_file() and (whole := each.resolve()) not in seen:
                seen.add(whole)
                yield each


def _checked(path: Path, known: Known) -> _Checked:
    try:
        with tokenize.open(path) as file:
            source = read_source(file.read())
    except (OSError, SyntaxError, UnicodeDecodeError) as exc:
        line, column = getattr(exc, "lineno", None), getattr(exc, "offset", None)
        message = f"cannot be read: {getattr(exc, 'msg', None) or exc}. Correct the file."
        broken = Finding("TF000", Place(line or 1, column or 1), "", message)
        return path, Linted([broken], [], []), ()
    return path, lint_source(source, known), source.steps


@contextmanager
def _known() -> Generator[tuple[Known, list[str]]]:
    """Yield what is known besides the files, and what could not be asked."""
    current, missed = settings(), list[str]()
    with ExitStack() as opened:

        def dated(what: str, file: str, opening: Callable[[Settings], _Dated]) -> _Dating | None:
            # A look makes no folder. Where there is none, nothing is proven either.
            if current.store_url is None and not (current.home / file).exists():
                return _never
            try:
                store = opened.enter_context(closing(opening(current)))
                store.steps()
            except (ImportError, StoreError) as exc:
                missed.append(f"{what} were not checked (TF002). {exc}")
                return None
            return partial(_newest_at, store)

        yield (
            Known(
                current,
                partial(temperature_of, Sampling()),
                dated("Calibrations", "judges.db", open_calibrations),
                dated("Routes", "routes.db", open_routes),
                time.time(),
                MAX_AGE_S,
            ),
            missed,
        )


def _never(_: str) -> None:
    """Return when a step of a store that is not there was last proven."""


_Dated: TypeAlias = Calibrations | Routes
_Dating: TypeAlias = Callable[[str], float | None]


def _newest_at(store: _Dated, name: str) -> float | None:
    # One that cannot be read opens nothing: it is as good as none.
    with suppress(StoreError):
        newest = store.newest(name)
        return None if newest is None else newest.at
    return None


def _lost_tags(current: Settings, steps: Sequence[StepFound]) -> list[str]:
    """Say which tags of the policy no step carries: one of them may be mistyped."""
    if any(isinstance(step.tags, Unknown) for step in steps):
        return []
    carried = {tag for step in steps if isinstance(step.tags, frozenset) for tag in step.tags}
    lost = sorted(current.policy.tags - carried)
    return [f"[policy] names tags that no step here carries: {', '.join(lost)}."] if lost else []


def _as_json(checked: Sequence[_Checked], lost: Sequence[str]) -> dict[str, Any]:
    def rows(of: Callable[[Linted], Sequence[Finding | Note]]) -> list[dict[str, Any]]:
        return [
            {"path": str(path), **asdict(each)}
            for path, linted, _ in checked
            for each in of(linted)
        ]

    return {
        "files": len(checked),
        "steps": sum(len(steps) for *_, steps in checked),
        "findings": [_flat(row) for row in rows(lambda linted: linted.findings)],
        "suppressed": [_flat(row) for row in rows(lambda linted: linted.suppressed)],
        "notes": [_flat(row) for row in rows(lambda linted: linted.notes)],
        "remarks": list(lost),
    }


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    place: dict[str, int] = row.pop("place")
    return {"path": row.pop("path"), **place, **row}


def _print(checked: Sequence[_Checked], lost: Sequence[str], steps: int) -> None:
    for path, linted, _ in checked:
        for found in linted.findings:
            place = found.place
            click.echo(f"{path}:{place.line}:{place.column}: {found.rule} {found.message}")
        for note in linted.notes:
            place = note.place
            click.echo(f"{path}:{place.line}:{place.column}: note: {note.message}", err=True)
    for line in lost:
        click.echo(f"note: {line}", err=True)
    findings = sum(len(linted.findings) for _, linted, _ in checked)
    suppressed = sum(len(linted.suppressed) for _, linted, _ in checked)
    click.echo(
        f"{plural(steps, 'step')} in {plural(len(checked), 'file')}: "
        f"{plural(findings, 'finding')}, {suppressed:,} suppressed.",
        err=True,
    )
