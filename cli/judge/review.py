"""Part of the command line about people who say whether accepted answers are right."""

import getpass
import json
import time
import unicodedata
from collections.abc import Generator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from textwrap import indent
from typing import Any

import click

from ...errors import ReviewError
from ...routing.gate import Review, Reviewed, Reviews, open_reviews
from ...settings import settings

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
_WORDS = click.Choice(["y", "yes", "n", "no", "s", "skip", "q", "quit"], case_sensitive=False)


@click.command("review")
@click.argument("gate", required=False)
@click.option("--json", "as_json", is_flag=True, help="List what waits as JSON, and ask nothing.")
def review(*, gate: str | None, as_json: bool) -> None:
    """Say of accepted answers, one after the other, whether they are right.

    They come from steps with Cascade(audit_by="people"), the newest first; of GATE (STEP@TIER)
    only, where it is named. What is said counts at once, as an audit of the gate, and the texts are
    deleted: Ctrl-C loses nothing.
    """
    with _queue() as queue:
        if as_json:
            click.echo(json.dumps([_row(each) for each in queue.waiting(gate)], indent=2))
            return
        _go_through(queue, gate)


@click.command("mark")
@click.argument("number", metavar="ID", type=click.IntRange(1, 2**63 - 1))
@click.argument("word", metavar="right|wrong", type=click.Choice(["right", "wrong"]))
@_JSON
def mark(*, number: int, word: str, as_json: bool) -> None:
    """Say of the accepted answer ID whether it is right.

    `tierflow judge review --json` lists those that wait.
    """
    with _queue() as queue:
        said = _say(queue, number, right=word == "right")
    if as_json:
        found = {"id": said.id, "gate": said.gate, "right": said.right, "alarm": said.alarm}
        click.echo(json.dumps(found, indent=2))
        return
    click.echo(f"Review {said.id} of {said.gate} is marked {word}.")
    if said.alarm:
        click.echo(_alarm(said.gate))


def open_counts() -> dict[str, int]:
    """Return how many answers wait for people, by gate."""
    with _queue() as queue:
        return dict(queue.counts())


@contextmanager
def _queue() -> Generator[Reviews]:
    with closing(open_reviews(settings())) as queue:
        yield queue


def _go_through(queue: Reviews, gate: str | None) -> None:
    marked, unreadable, alarms = 0, 0, set[str]()
    before: int | None = None
    # One at a time: others may review the same gate meanwhile.
    while waiting := queue.waiting(gate, before=before, limit=1):
        (each,) = waiting
        before = each.id
        if each.ask is None or each.answer is None:
            unreadable += 1
            continue
        click.echo(_page(each))
        word = _asked()
        if word == "q":
            break
        if word == "s":
            continue
        try:
            said = _say(queue, each.id, right=word == "y")
        except ReviewError as exc:
            click.echo(f"{exc}\n")
            continue
        marked += 1
        if said.alarm and said.gate not in alarms:
            alarms.add(said.gate)
            click.echo(f"{_alarm(said.gate)}\n")
    left = sum(count for name, count in queue.counts().items() if gate in (None, name))
    click.echo(f"{marked} marked, {left} open.")
    if unreadable:
        click.echo(
            f"{unreadable} cannot be read: they are damaged, or sealed with a key that is not in "
            "cache.encryption_keys. Put that key back behind the newest."
        )


def _asked() -> str:
    try:
        word: str = click.prompt(
            "right? [y]es, [n]o, [s]kip, [q]uit", type=_WORDS, show_choices=False
        )
    except click.Abort:
        # Ctrl-C, or the end of the input.
        word = "quit"
    click.echo()
    return word[0]


def _say(queue: Reviews, number: int, *, right: bool) -> Reviewed:
    return queue.say(number, right=right, who=getpass.getuser(), at=time.time())


def _alarm(gate: str) -> str:
    return f"Too many answers of {gate} were wrong: it is closed until it is calibrated anew."


def _page(each: Review) -> str:
    ask, answer = (indent(_plain(text or ""), "    ") for text in (each.ask, each.answer))
    heading = f"{each.gate}, {each.stratum}, accepted {_time(each)} (review {each.id})"
    return f"{heading}\nAsked:\n{ask}\nAnswered:\n{answer}\n"


def _plain(text: str) -> str:
    """Return a text without what a terminal would take for a command: strangers wrote it."""
    return "".join(
        letter
        if letter in "\n\t" or not unicodedata.category(letter).startswith("C")
        else letter.encode("unicode_escape").decode()
        for letter in text
    )


def _time(each: Review) -> str:
    return datetime.fromtimestamp(each.at, UTC).isoformat(timespec="seconds")


def _row(each: Review) -> dict[str, Any]:
    return {
        "id": each.id,
        "gate": each.gate,
        "stratum": each.stratum,
        "at": _time(each),
        "ask": each.ask,
        "answer": each.answer,
    }
