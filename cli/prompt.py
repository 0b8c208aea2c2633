"""Part of the command line about prompts: their versions, their words, their aliases."""

import difflib
import getpass
import json
import time
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any

import click
from rich.markup import escape

from ..errors import UnknownPromptError
from ..prompting import Pointer, PromptVersion, Registry, open_registry
from ..prompting import prompt as named
from ..settings import settings
from ..tables import LEAST_KEY, Column, key, print_table

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
_COLOURS = {"+": "green", "-": "red", "@": "cyan"}
_SHORT = 12
"""Digits of a hash that people are shown; spans, the ledger and --json have all 64."""

_EXAMPLE = """\b
Example:
  tierflow prompt list
  tierflow prompt show triage@candidate
  tierflow prompt diff triage production candidate
  tierflow prompt alias triage production v2 --why "fewer wrong refunds"
"""


@click.group(epilog=_EXAMPLE)
def prompt() -> None:
    """See prompts by name, version and alias; compare and publish them.

    A version is a file, NAME/VERSION.toml in the folder `prompts_dir` (prompts/ beside
    tierflow.toml), or was published to the store. An alias is a line of NAME/aliases.toml, or was
    moved in the store, and then the store decides. NAME alone means its alias `production`.
    """


@prompt.command("list")
@_JSON
def list_(*, as_json: bool) -> None:
    """List all versions of all prompts, with their hashes and aliases."""
    with _registry() as registry:
        rows = [
            _row(registry, registry.look(name, version))
            for name in registry.names()
            for version in registry.versions(name)
        ]
        folder = registry.files.folder
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        click.echo(f"There is no prompt yet. Write {folder / 'NAME' / 'v1.toml'}.")
        return
    columns = [
        key("prompt"),
        Column("version"),
        Column("hash", spare=2),
        Column("from", folds=8, spare=1),
        Column("aliases", folds=LEAST_KEY),
    ]
    print_table(columns, [_cells(row) for row in rows], title="Prompts")


def _cells(row: dict[str, Any]) -> Sequence[str]:
    place = "store, differs from file" if row["file_differs"] else row["origin"]
    return (
        escape(row["prompt"]),
        escape(row["version"]),
        row["hash"][:_SHORT],
        place,
        escape(", ".join(_told(row["aliases"]))),
    )


@prompt.command("show", epilog="Example: tierflow prompt show triage@v2 > prompts/triage/v3.toml")
@click.argument("name", metavar="NAME[@VERSION|@ALIAS]")
@_JSON
def show(*, name: str, as_json: bool) -> None:
    """Print a version of a prompt as its file, and say where it is from."""
    chosen = named(name)
    with _registry() as registry:
        found = registry.look(chosen.name, chosen.reference)
        row = _row(registry, found)
    if as_json:
        words = {"fields": list(found.text.fields), **found.text.model_dump(mode="json")}
        click.echo(json.dumps(row | words, indent=2))
        return
    click.echo(f"# {_label(found)}, from {row['place']}")
    for told in _told(row["aliases"]):
        click.echo(f"# alias: {told}")
    if row["file_differs"]:
        path = registry.files.path(found.name, found.version)
        click.echo(f"# {path} has another content. Give that a new version.")
    click.echo(found.text.to_toml(), nl=False)


@prompt.command("diff", epilog="Example: tierflow prompt diff triage production v2")
@click.argument("name")
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@_JSON
def diff(*, name: str, before: str, after: str, as_json: bool) -> None:
    """Compare two versions of prompt NAME, line by line.

    A and B are versions or aliases.
    """
    with _registry() as registry:
        one, other = (registry.look(name, each) for each in (before, after))
    lines = list(
        difflib.unified_diff(
            one.text.to_toml().split("\n"),
            other.text.to_toml().split("\n"),
            _label(one),
            _label(other),
            lineterm="",
        )
    )
    if as_json:
        sides = {"a": one.id._asdict(), "b": other.id._asdict()}
        click.echo(json.dumps({**sides, "same": not lines, "diff": lines}, indent=2))
        return
    if not lines:
        click.echo(f"{name}@{one.version} and {name}@{other.version} say the same.")
    for line in lines:
        click.echo(click.style(line, fg=_COLOURS.get(line[:1])))


@prompt.command("publish")
@click.argument("name")
@click.argument("version")
@_JSON
def publish(*, name: str, version: str, as_json: bool) -> None:
    """Put VERSION of prompt NAME from its file into the shared store.

    A published version never changes: what differs needs a new version.
    """
    with _registry() as registry:
        found, is_new = registry.publish(name, version, at=time.time(), who=getpass.getuser())
        row = _row(registry, found)
    if as_json:
        click.echo(json.dumps({**row, "changed": is_new}, indent=2))
        return
    told = "is published" if is_new else "was published before, with this content"
    click.echo(f"{_label(found)} {told}.")


@prompt.command("alias")
@click.argument("name")
@click.argument("alias")
@click.argument("version", required=False)
@click.option("--drop", is_flag=True, help="Take the alias out of the store: the files decide.")
@click.option("--why", default="", help="What others should know.")
@_JSON
def alias(
    *, name: str, alias: str, version: str | None, drop: bool, why: str, as_json: bool
) -> None:
    """Let ALIAS of prompt NAME stand for VERSION, in the shared store.

    VERSION may be another alias, whose version is taken. A version that only a file has is
    published first. Every process sees it within seconds; `history` says who moved what.
    """
    if drop == (version is not None):
        raise click.UsageError("Give a VERSION, or --drop.")
    with _registry() as registry:
        before = registry.aliases(name).get(alias)
        registry.move(name, alias, version, at=time.time(), who=getpass.getuser(), why=why)
        now = registry.aliases(name).get(alias)
        new_fields = _new_fields(registry, name, before, now)
    if as_json:
        told = {
            "prompt": name,
            "alias": alias,
            "version": None if now is None else now.version,
            "origin": None if now is None else now.origin,
            "before": None if before is None else before.version,
            "new_fields": new_fields,
        }
        click.echo(json.dumps(told, indent=2))
        return
    was = "" if before is None else f" It was {before.version}."
    stands = "for nothing" if now is None else f"for {now.version}, by the {now.origin}"
    click.echo(f"{alias} of {name} stands {stands}.{was}")
    if new_fields:
        fields = ", ".join(new_fields)
        click.echo(f"It has new fields: {fields}. Code that gives no such value fails.", err=True)


@prompt.command("history")
@click.argument("name")
@_JSON
def history(*, name: str, as_json: bool) -> None:
    """List who moved the aliases of prompt NAME, the newest first."""
    with _registry() as registry:
        moves = registry.store.history(name)[::-1]
    if as_json:
        rows = [
            {
                "at": _iso(each.at),
                "alias": each.alias,
                "version": each.version,
                "who": each.who,
                "why": each.why,
            }
            for each in moves
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    if not moves:
        click.echo(f"No alias of {name} was ever moved in the store.")
    for each in moves:
        to = "given back to the files" if each.version is None else f"to {each.version}"
        why = f": {each.why}" if each.why else ""
        line = f"{_iso(each.at)}  {each.alias} {to}, by {each.who}{why}"
        # A terminal would obey control characters.
        click.echo(line if line.isprintable() else json.dumps(line))


def _new_fields(
    registry: Registry, name: str, before: Pointer | None, now: Pointer | None
) -> list[str]:
    if before is None or now is None:
        return []
    try:
        old, new = (registry.look(name, each.version).text.fields for each in (before, now))
    except UnknownPromptError:
        # An alias of a version that is gone is mended by moving it.
        return []
    return [field for field in new if field not in old]


def _label(found: PromptVersion) -> str:
    return f"{found.name}@{found.version} ({found.text.hash[:_SHORT]})"


def _row(registry: Registry, found: PromptVersion) -> dict[str, Any]:
    path, written = registry.files.path(found.name, found.version), None
    if found.origin == "store":
        written = registry.files.text(found.name, found.version)
    return {
        "prompt": found.name,
        "version": found.version,
        "hash": found.text.hash,
        "origin": found.origin,
        "place": str(path) if found.origin == "file" else registry.store.shown,
        "file_differs": written is not None and written.hash != found.text.hash,
        "aliases": {
            alias: pointer.origin
            for alias, pointer in registry.aliases(found.name).items()
            if pointer.version == found.version
        },
    }


def _told(aliases: dict[str, str]) -> list[str]:
    return [f"{alias} ({origin})" for alias, origin in aliases.items()]


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


@contextmanager
def _registry() -> Generator[Registry]:
    with closing(open_registry(settings())) as registry:
        yield registry
