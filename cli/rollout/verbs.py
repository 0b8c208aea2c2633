"""Part of the command line about rollouts that people move on or stop by hand."""

import getpass
import json
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TypeAlias

import click

from ...errors import RolloutError
from ...rollouts.acting import act
from ...rollouts.advancing import known, shown
from ...rollouts.opening import open_rollouts
from ...rollouts.report import headline, state_json
from ...rollouts.state import RolloutState
from ...rollouts.verbs import (
    abort,
    fitting,
    is_reached,
    pause,
    promote,
    resume,
    retry,
    set_weight,
    undo,
)
from ...settings import settings

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
BY = click.option("--by", default=getpass.getuser, show_default="your login", help="Who does it.")
WHY = click.option("--why", default="", help="What others should know.")

Verb: TypeAlias = Callable[[RolloutState, float], RolloutState | None]
"""A change of a rollout's state at a time, Unix seconds."""


def change(name: str, verb: Verb, *, why: str, as_json: bool, called: str = "") -> None:
    """Carry out a verb and say what became of it. `called`: as `is_reached` knows it.

    Raises RolloutError, StoreError.
    """
    with closing(open_rollouts(settings())) as store:
        after = act(
            store,
            name,
            lambda state: None if is_reached(called, state) else verb(state, time.time()),
            why=why,
        )
        state = after or known(store, name)
    if as_json:
        click.echo(json.dumps({**state_json(state), "changed": after is not None}, indent=2))
    elif after is None:
        click.echo(f"{name} is {state.word} already. Nothing was changed. {fitting(state)}")
    else:
        click.echo(f"{name}: {headline(after)}. Every process sees it within seconds.")


@click.command("promote")
@click.argument("name")
@click.option("--full", is_flag=True, help="To the end: the candidate answers all.")
@click.option("--yes", is_flag=True, help="Do not ask, whatever --full skips.")
@BY
@WHY
@JSON
def promote_(*, name: str, full: bool, yes: bool, by: str, why: str, as_json: bool) -> None:
    """Go to the next step of NAME without proof, be it paused or not.

    With --full it says which steps are skipped and what nobody has proven, and asks.

    \b
    tierflow rollout promote triage-v2 --why "harmless by hand-made review"
    tierflow rollout promote triage-v2 --full --yes
    """  # noqa: D301  # \b is click's mark for lines that it leaves alone
    if full and not yes and (skipped := _skipped(name)):
        click.confirm(f"{skipped} Go on?", abort=True, err=True)
    change(
        name,
        lambda state, now: promote(state.plan, state, by, now, full=full),
        why=why,
        as_json=as_json,
        called="promote",
    )


def _skipped(name: str) -> str:
    """Say what a promotion to the end leaves out, "" for nothing."""
    with closing(open_rollouts(settings())) as store:
        state, judgement = shown(store, name, time.time())
    if state.phase not in ("progressing", "paused"):
        return ""
    left = [f"{each:g} %" for each in state.terms.steps[state.step + 1 :] if each != "shadow"]
    role = {each.metric: each for each in judgement.readings if each.role == "guardrail"}
    open_ = [
        f"{metric.name}{', which is harmed' if seen and seen.verdict == 'failed' else ''}"
        for metric in state.plan.guardrails
        if (seen := role.get(metric.name)) is None or seen.verdict != "successful"
    ]
    said = [f"skips the steps {', '.join(left)}"] if left else []
    said += [f"nothing is proven of {', '.join(open_)}"] if open_ else []
    said += [judgement.failing] if judgement.failing else []
    return f"{name}: {headline(state)}. This {'; '.join(said)}." if said else ""


@click.command("pause")
@click.argument("name")
@BY
@WHY
@JSON
def pause_(*, name: str, by: str, why: str, as_json: bool) -> None:
    """Have NAME stay at its weight.

    No evidence moves it then, not even harm.
    """
    change(
        name,
        lambda state, now: pause(state.plan, state, by, now, "Paused by hand"),
        why=why,
        as_json=as_json,
        called="pause",
    )


@click.command("resume")
@click.argument("name")
@BY
@WHY
@JSON
def resume_(*, name: str, by: str, why: str, as_json: bool) -> None:
    """Go on with the step in which NAME was paused. Its time begins anew."""
    change(
        name,
        lambda state, now: resume(state.plan, state, by, now),
        why=why,
        as_json=as_json,
        called="resume",
    )


@click.command("abort")
@click.argument("name")
@BY
@WHY
@JSON
def abort_(*, name: str, by: str, why: str, as_json: bool) -> None:
    """Give everything back to the baseline.

    What has taken over is taken back by `undo`.

    \b
    tierflow rollout abort triage-v2 --why "complaints about refunds"
    """  # noqa: D301
    change(
        name,
        lambda state, now: abort(state.plan, state, by, now, "Aborted by hand"),
        why=why,
        as_json=as_json,
        called="abort",
    )


@click.command("retry")
@click.argument("name")
@BY
@WHY
@JSON
def retry_(*, name: str, by: str, why: str, as_json: bool) -> None:
    """Begin anew after NAME was rolled back, by the same terms.

    What was seen before is left out.

    `start` does so by the terms as they are now.
    """
    change(name, lambda state, now: retry(state.plan, state, by, now), why=why, as_json=as_json)


@click.command("undo")
@click.argument("name")
@BY
@WHY
@JSON
def undo_(*, name: str, by: str, why: str, as_json: bool) -> None:
    """Take back the candidate of NAME that had taken over."""
    change(
        name,
        lambda state, now: undo(state.plan, state, by, now),
        why=why,
        as_json=as_json,
        called="undo",
    )


def _share(_: click.Context, __: click.Parameter, value: str) -> float:
    """Read a percentage, 0-100, with or without its sign, as a share."""
    try:
        percentage = float(value.removesuffix("%"))
    except ValueError:
        percentage = -1.0
    if not 0 <= percentage <= 100:
        raise click.BadParameter(f"{value!r} is no percentage. Give a number from 0 to 100.")
    return percentage / 100


@click.command("set-weight")
@click.argument("name")
@click.argument("weight", metavar="PERCENT", callback=_share)
@BY
@WHY
@JSON
def set_weight_(*, name: str, weight: float, by: str, why: str, as_json: bool) -> None:
    """Give the candidate of NAME another share of units, and pause it there.

    \b
    tierflow rollout set-weight triage-v2 33%
    """  # noqa: D301
    change(
        name,
        lambda state, now: set_weight(state.plan, state, by, now, weight),
        why=why,
        as_json=as_json,
    )


@click.command("forget")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@JSON
def forget_(*, name: str, yes: bool, as_json: bool) -> None:
    """Delete what was observed of NAME, which must not be under way.

    Calls, pairs with what both arms said, and scores are gone for good; its revisions are kept.
    """
    with closing(open_rollouts(settings())) as store:
        state = known(store, name)
        if state.phase in ("progressing", "paused"):
            raise RolloutError(
                f"{name} is {state.word}, and what was observed is its evidence. {fitting(state)}"
            )
        if not yes:
            asked = f"{name}: {headline(state)}. Delete all that was observed of it?"
            click.confirm(asked, abort=True, err=True)
        store.forget(name, state.epoch + 1)
    if as_json:
        click.echo(json.dumps(state_json(state), indent=2))
    else:
        click.echo(f"What was observed of {name} is deleted. Its revisions are kept.")


def verbs() -> Sequence[click.Command]:
    """Return the commands, for the group that has them."""
    return (promote_, pause_, resume_, abort_, retry_, undo_, set_weight_, forget_)
