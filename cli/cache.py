"""Part of the command line about the cache. It reads and invalidates; it asks no model."""

import json
import re
import sys
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ..caching import AnswerStore, Key, has_questions, open_similar_cache, open_store
from ..caching.opening import open_similar_store
from ..caching.similar import SimilarStore
from ..caching.store import Entry, Failure, Selection
from ..caching.transfer import export_entries, import_entries
from ..errors import StoreError
from ..plural import plural
from ..settings import settings
from .cache_explain import explain_question

F = TypeVar("F", bound=Callable[..., Any])

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_KEY = re.compile("[0-9a-f]{4,64}")
_MOST_SHOWN = 20


@click.group()
def cache() -> None:
    """Look into the cache, move it, or invalidate parts of it."""


@cache.command("stats")
@_JSON
def cache_stats(*, as_json: bool) -> None:
    """Count what is kept, per step, and the questions kept for similar ones."""
    with _store() as store:
        found = store.stats()
    questions = _count_questions()
    if as_json:
        _print_json(asdict(found) | {"questions": questions})
        return
    failures = f" ({found.failures} of them failures)" if found.failures else ""
    click.echo(
        f"{found.path}: {plural(found.entries, 'answer')}{failures}, {found.bytes / 1e6:.1f} MB"
    )
    for step, count in found.steps.items():
        click.echo(f"  {step}: {count}")
    if questions is not None:
        click.echo(f"Kept for similar questions: {questions}")


def _count_questions() -> int | None:
    try:
        with _similar_store() as similar:
            return 0 if similar is None else sum(similar.partitions().values())
    except StoreError as exc:
        # The answers' figures are right without it.
        click.echo(str(exc), err=True)
        return None


@cache.command("explain")
@click.argument("what")
@click.option("--show-text", is_flag=True, help="Also show the answers' text.")
@click.option("--step", help="A question: only as asked by this step.")
@click.option(
    "--max-wrong-rate", default=0.01, show_default=True, help="A question: the step's promise."
)
@click.option(
    "--confidence", default=0.95, show_default=True, help="A question: that it is kept with."
)
@_JSON
def cache_explain(
    *,
    what: str,
    show_text: bool,
    step: str | None,
    max_wrong_rate: float,
    confidence: float,
    as_json: bool,
) -> None:
    """Show what is kept for WHAT: a question, or (the start of) a key.

    Of a question: the nearest one that was answered, what speaks for its answer, and how far the
    proof is that such answers may be served.
    """
    if not _KEY.fullmatch(what):
        explain_question(
            what, step=step, max_wrong_rate=max_wrong_rate, confidence=confidence, as_json=as_json
        )
        return
    with _store() as store:
        found = [_told(key, entry, show_text=show_text) for key, entry in _under(store, what)]
    if as_json:
        _print_json(found)
        return
    if not found:
        raise click.ClickException(f"Nothing is kept under a key that begins with {what}.")
    for told in found[:_MOST_SHOWN]:
        click.echo(told["key"])
        for name, value in told.items():
            if name != "key":
                click.echo(f"  {name:<11} {_shown(value)}")
    if len(found) > _MOST_SHOWN:
        click.echo(f"... and {len(found) - _MOST_SHOWN} more. Give more digits.")


def _under(store: AnswerStore, what: str) -> Iterable[tuple[Key, Entry]]:
    if len(what) < 64:
        return [(key, entry) for key, entry in store.entries() if key.startswith(what)]
    entry = store.get(Key(what))
    return [] if entry is None else [(Key(what), entry)]


def _told(key: Key, entry: Entry, *, show_text: bool) -> dict[str, Any]:
    content, labels = entry.content, entry.labels
    told: dict[str, Any] = {
        "key": key,
        "step": labels.step,
        "tenant": labels.tenant,
        "prefix": labels.prefix,
        "tags": list(labels.tags),
        "stored_at": _utc(entry.stored_at),
        "fresh_until": _utc(entry.fresh_until),
        "expires_at": _utc(entry.expires_at),
    }
    if isinstance(content, Failure):
        told |= {"failure": content.error}
        return told | ({"message": content.message} if show_text else {})
    told |= {
        "tier": content.tier,
        "deployment": content.deployment,
        "model": content.model,
        "usage": asdict(content.usage),
        "cost_usd": content.cost_usd,
        "text_bytes": len(content.text.encode()),
    }
    return told | ({"text": content.text} if show_text else {})


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _shown(value: object) -> str:
    match value:
        case dict() | list():
            return json.dumps(value, ensure_ascii=False)
        case str() if not value.isprintable():
            # A terminal would obey control characters.
            return json.dumps(value)
        case None:
            return "unknown"
        case _:
            return str(value)


@cache.command("export")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@_JSON
def cache_export(*, file: Path, as_json: bool) -> None:
    """Write what is kept into FILE as JSON lines; gzipped if it ends in .gz.

    The answers can be read there, also where the cache is encrypted: the file is yours alone
    (mode 0600). It appears when it is whole.
    """
    with _store() as store, _progress("Writing", store.stats().entries) as advance:
        count = export_entries(store, file, on_entry=advance)
        damaged = sum(1 for _ in store.faults())
    if as_json:
        _print_json({"exported": count, "file": str(file), "damaged": damaged})
    else:
        click.echo(f"Wrote {plural(count, 'answer')} to {file}.")
    if damaged:
        click.echo(f"{damaged} damaged ones were left out: `tierflow cache verify`.", err=True)
        sys.exit(1)


@cache.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--replace", is_flag=True, help="Also where an answer is kept already.")
@_JSON
def cache_import(*, file: Path, replace: bool, as_json: bool) -> None:
    """Keep the answers of FILE, which `export` wrote, for the time they have left.

    Lines that are no answers are named and left out; the exit code is 1 then.
    """
    bad = _Naming()
    with _store() as store, _progress("Reading", None) as advance:
        done = import_entries(
            store,
            file,
            now=time.time(),
            replace=replace,
            on_line=advance,
            on_bad=bad,
        )
    if as_json:
        _print_json(asdict(done))
    else:
        click.echo(
            f"Added {done.added}, replaced {done.replaced}, left {done.kept} as they were; "
            f"{done.expired} had expired, and {done.bad} were no answers."
        )
    if done.bad:
        sys.exit(1)


class _Naming:
    """Prints what is wrong, up to where nobody reads on."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, why: str) -> None:
        self._count += 1
        if self._count <= _MOST_SHOWN:
            click.echo(why, err=True)
        elif self._count == _MOST_SHOWN + 1:
            click.echo("Further lines are no answers, either.", err=True)


@cache.command("invalidate")
@click.option("--step", help="Only the answers of this step.")
@click.option("--tag", help="Only those with this tag.")
@click.option("--prefix", help="Only those of this prefix: its fingerprint.")
@click.option("--tenant", help="Only those of this tenant.")
@click.option("--all", "everything", is_flag=True, help="All answers.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_JSON
def cache_invalidate(*, everything: bool, yes: bool, as_json: bool, **labels: str | None) -> None:
    """Remove answers; they are asked for, and paid for, again.

    Several options together mean the answers that fit them all.
    """
    which = Selection(**labels)
    if everything == (which != Selection()):
        raise click.UsageError("Say which: --step, --tag, --prefix, --tenant, or --all.")
    if not yes:
        named = [f"{name} {value!r}" for name, value in labels.items() if value is not None]
        whose = f"the answers of {' and '.join(named)}" if named else "all answers"
        click.confirm(f"Remove {whose} from the cache?", abort=True, err=True)
    with _store() as store:
        removed = store.invalidate(which)
    similar = open_similar_cache(settings())
    questions = similar.invalidate(which) if has_questions(settings()) else 0
    similar.close()
    if as_json:
        _print_json({"removed": removed, "questions": questions})
    else:
        told = f", and {plural(questions, 'question')} for similar ones" if questions else ""
        click.echo(f"Removed {plural(removed, 'answer')}{told}.")


@cache.command("verify")
@_JSON
def cache_verify(*, as_json: bool) -> None:
    """Check all that is kept, and name what is damaged or foreign.

    The exit code is 1 when there is any such thing.
    """
    count = 0
    with _store() as store, _similar_store() as similar:
        found: list[str] = []
        for line in chain(store.faults(), () if similar is None else similar.faults()):
            count += 1
            if as_json:
                found.append(line)
            else:
                click.echo(line)
        path = store.stats().path
    if as_json:
        _print_json({"path": path, "faults": found})
    elif not count:
        click.echo(f"{path}: nothing is damaged.")
    if count:
        sys.exit(1)


@contextmanager
def _store() -> Generator[AnswerStore]:
    with closing(open_store(settings())) as store:
        yield store


@contextmanager
def _similar_store() -> Generator[SimilarStore | None]:
    if not has_questions(settings()):
        yield None
        return
    with closing(open_similar_store(settings())) as store:
        yield store


@contextmanager
def _progress(verb: str, total: int | None) -> Generator[Callable[[], object]]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda: None
        return
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(verb, total=total)
        yield lambda: progress.advance(task)


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2))
