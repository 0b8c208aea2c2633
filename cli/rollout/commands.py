"""Part of the command line about rollouts: start them, and see where they stand."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import click
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape

from ...errors import RolloutError
from ...rollouts import Rollout, Variant
from ...rollouts.advancing import known, shown
from ...rollouts.configured import configured
from ...rollouts.controller import Judgement, Reading
from ...rollouts.opening import open_rollouts
from ...rollouts.report import as_json, headline, iso, measured, percent, state_json, why
from ...rollouts.state import RolloutState
from ...rollouts.store import Rollouts
from ...rollouts.terms import Terms
from ...rollouts.verbs import start as start_verb
from ...settings import CONFIG_NAME, settings
from ...tables import Column, key, number, print_table, table
from .lint import lint
from .prompts import missing_prompts, prompts_of
from .verbs import BY, JSON, WHY, change, verbs

_COLOURS = {"failed": "red", "successful": "green", "inconclusive": "yellow"}
_WORDS = {"failed": "harmed", "successful": "no harm", "inconclusive": "not decided"}


@click.group()
def rollout() -> None:
    """Try a candidate on a growing share of the units, and stop where it harms.

    \b
    tierflow rollout start triage-v2                  # as [rollouts.triage-v2] says
    tierflow rollout get triage-v2 --watch            # until it rests
    tierflow rollout promote triage-v2 --why "looked at 50 answers"
    tierflow rollout abort triage-v2 --why "complaints"

    The deployment `advance-rollouts` moves them on; without it nothing moves by itself.

    Exit codes: 0 done, or nothing to do because it stands there already; 1 the verb does not fit
    where it stands, and the error says which do; 2 the command was not understood.
    """  # noqa: D301  # \b is click's mark for lines that it leaves alone


@rollout.command("start")
@click.argument("name")
@click.argument("step", required=False)
@BY
@WHY
@JSON
def start(*, name: str, step: str | None, by: str, why: str, as_json: bool) -> None:
    """Begin with the first step of NAME.

    Its terms are held fast: later edits change nothing of it.

    They come from [rollouts.NAME] in tierflow.toml; or from the `rollout=` of STEP, which is
    module:function or path/to/file.py:function.

    \b
    tierflow rollout start triage-v2
    tierflow rollout start triage-v2 flows/triage.py:urgency --why "prompt of May"
    """  # noqa: D301
    chosen = _of_step(name, step) if step else _of_file(name)
    change(name, lambda state, now: start_verb(chosen, state, by, now), why=why, as_json=as_json)


def _of_file(name: str) -> Rollout:
    known = configured(settings())
    if name not in known:
        raise RolloutError(
            f"{CONFIG_NAME} has no [rollouts.{name}]. Known: {', '.join(known) or 'none'}. Write "
            f"it, or name a step that has it: `tierflow rollout start {name} "
            "path/to/file.py:function`."
        )
    found = known[name]
    _check_prompts(name, [*found.candidate.values(), *found.baseline.values()])
    return found.terms.rollout(name)


def _check_prompts(name: str, variants: Sequence[Variant]) -> None:
    if said := missing_prompts(prompts_of(variants), settings()):
        raise RolloutError(f"{name} was not started. {said[0]}")


def _of_step(name: str, step: str) -> Rollout:
    from ..steps import load_step  # noqa: PLC0415  # imports Prefect

    found: Rollout | None = load_step(step).spec.rollout
    if found is None or found.name != name:
        has = "no rollout" if found is None else f"the rollout {found.name!r}"
        raise RolloutError(f"{step} has {has}, not {name!r}. Write rollout=Rollout({name!r}, ...).")
    known = configured(settings())
    if name in known and known[name].terms != Terms.of(found):
        raise RolloutError(
            f"{name} has other terms in {CONFIG_NAME} than in {step}. Keep one of them: "
            "`tierflow rollout lint` says where they differ."
        )
    _check_prompts(name, [found.candidate, found.baseline])
    return found


@rollout.command("get")
@click.argument("name")
@click.option("--watch", "-w", is_flag=True, help="Look again until it rests, or Ctrl-C.")
@click.option(
    "--every", type=click.FloatRange(min=0, min_open=True), default=3.0, help="Seconds of --watch."
)
@JSON
def get(*, name: str, watch: bool, every: float, as_json: bool) -> None:
    """Say where NAME stands, why, and what both arms show so far. Changes nothing.

    \b
    tierflow rollout get triage-v2 --watch
    tierflow rollout get triage-v2 --json | jq .readings
    """  # noqa: D301
    with closing(open_rollouts(settings())) as store:
        if not watch:
            _print(store, name, as_json=as_json)
        elif as_json:
            for state, judgement in _until_rest(store, name, every, time.sleep):
                click.echo(json.dumps(_found(store, state, judgement)))
        else:
            _watch(store, name, every)


def _print(store: Rollouts, name: str, *, as_json: bool) -> None:
    state, judgement = shown(store, name, time.time())
    if as_json:
        click.echo(json.dumps(_found(store, state, judgement), indent=2))
    else:
        Console().print(_page(state, judgement))


def _watch(store: Rollouts, name: str, every: float) -> None:
    with Live(console=Console(), auto_refresh=False) as live:
        try:
            for state, judgement in _until_rest(store, name, every, time.sleep):
                live.update(_page(state, judgement), refresh=True)
        except KeyboardInterrupt:
            # What was seen last stays on the screen.
            return


def _until_rest(
    store: Rollouts, name: str, every: float, sleep: Callable[[float], None]
) -> Iterator[tuple[RolloutState, Judgement]]:
    while True:
        state, judgement = shown(store, name, time.time())
        yield state, judgement
        if state.phase != "progressing":
            return
        sleep(every)


def _found(store: Rollouts, state: RolloutState, judgement: Judgement) -> dict[str, Any]:
    return as_json(state, judgement, store.history(state.rollout))


def _page(state: RolloutState, judgement: Judgement) -> Group:
    heading = f"[bold]{escape(state.rollout)}[/]: {headline(state)}"
    said = f"{escape(why(state, judgement))}."
    changed = f"[dim]revision {state.revision}, {iso(state.at)}, by {escape(state.by)}[/]"
    if not judgement.readings:
        return Group(heading, said, changed)
    columns = [
        key("metric"),
        Column("role", spare=1),
        Column("verdict"),
        Column("difference", folds=12),
        Column("candidate", folds=12),
        Column("baseline", folds=12),
    ]
    of = "pairs" if judgement.shadow else "units"
    rows = [_row(each, of) for each in judgement.readings]
    return Group(heading, said, changed, table(columns, rows, Console().width))


def _row(each: Reading, of: str) -> Sequence[str]:
    ours, theirs = measured(each)
    return (
        escape(each.metric),
        each.role,
        f"[{_COLOURS[each.verdict]}]{_WORDS[each.verdict]}[/]",
        str(each.difference or ""),
        _arm(ours, each.candidate, of),
        _arm(theirs, each.baseline, of),
    )


def _arm(shown: str, count: int, of: str) -> str:
    return f"{shown} in {count:,} {of}" if shown else f"{count:,} {of}"


@rollout.command("list")
@JSON
def list_(*, as_json: bool) -> None:
    """List the rollouts that were ever started, and those of tierflow.toml."""
    current = settings()
    with closing(open_rollouts(current)) as store:
        found = [state for name in store.names() if (state := store.newest(name)) is not None]
    started = {each.rollout for each in found}
    found += [
        RolloutState(rollout=name, terms=each.terms)
        for name, each in configured(current).items()
        if name not in started
    ]
    if as_json:
        click.echo(json.dumps([state_json(each) for each in found], indent=2))
        return
    if not found:
        click.echo(
            f"No rollout is there yet. Write [rollouts.NAME] in {CONFIG_NAME}, or "
            "@llm_task(rollout=Rollout(...)), and run `tierflow rollout start NAME`, in the second "
            "case with FILE.py:STEP behind it."
        )
        return
    columns = [
        key("rollout"),
        Column("stands", folds=16),
        Column("since", folds=10, spare=1),
        Column("why", folds=16),
    ]
    rows = [
        (escape(each.rollout), headline(each), iso(each.at) if each.at else "", escape(each.reason))
        for each in found
    ]
    print_table(columns, rows, title="Rollouts")


@rollout.command("history")
@click.argument("name")
@JSON
def history(*, name: str, as_json: bool) -> None:
    """Show all revisions of NAME: who changed what, when and why."""
    with closing(open_rollouts(settings())) as store:
        kept = store.history(name)
        if not kept:
            known(store, name)
    if as_json:
        click.echo(json.dumps([state_json(each) for each in kept], indent=2))
        return
    columns = [
        number("revision", 3),
        Column("at", folds=10),
        Column("stands"),
        Column("step", spare=2),
        number("weight"),
        Column("by", folds=8, spare=1),
        Column("why", folds=16),
    ]
    print_table(columns, [_revision(each) for each in kept], title=f"Revisions of {escape(name)}")


def _revision(each: RolloutState) -> Sequence[str]:
    return (
        str(each.revision),
        iso(each.at),
        each.word,
        f"{each.step + 1} of {len(each.terms.steps)}",
        percent(each.weight),
        escape(each.by),
        escape(each.reason),
    )


for _each in (*verbs(), lint):
    rollout.add_command(_each)
