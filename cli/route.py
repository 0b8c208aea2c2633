"""Part of the command line about routes: learning them, and what each way costs."""

import json
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from ..plural import plural
from ..routing.routes import Routes, open_routes
from ..routing.routes.route import ReachName
from ..settings import settings
from ..tables import LEAST_KEY, Column, number, print_table
from ..tracing.report import usd

if TYPE_CHECKING:
    from ..routing.routes.learned import LearnedRoute, Offer

_CONFIDENCE = 0.95
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
_REMEDY = "Run `tierflow route learn STEP --items FILE`."


@click.group()
def route() -> None:
    """Learn whom to ask for which question, and see what each way costs."""


@route.command("learn")
@click.argument("step")
@click.option(
    "--items",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help='JSON lines: the step\'s arguments by name, and "label" where known. 200 or more.',
)
@_JSON
def learn(*, step: str, file: Path, as_json: bool) -> None:
    """Ask all tiers of STEP about items; learn what each way through them brings.

    STEP is module:function or path/to/file.py:function. Without a label the strongest tier's answer
    counts as right. Six of ten items teach, the others measure. This asks models and costs money;
    what they said is kept for a day, so that learning that broke off goes on where it was.
    """
    from ..tasks.proving import learn_step_route, read_items  # noqa: PLC0415  # likewise
    from .steps import load_step  # noqa: PLC0415  # imports Prefect

    task, items = load_step(step), read_items(file)
    with Progress(console=Console(stderr=True)) as bar:
        asking = bar.add_task(f"Asking all tiers of {task.name}", total=len(items))
        found = learn_step_route(task, items, ended=lambda: bar.advance(asking))
    for at, error in list(found.errors.items())[:3]:
        click.echo(f"Item {at + 1} teaches nothing: {type(error).__name__}: {error}", err=True)
    learned, chosen = found.route, found.chosen
    if as_json:
        said = {
            **_as_json(learned),
            "without_answers": len(found.errors),
            "cost_usd": found.cost_usd,
            "opens": chosen is not None,
            "reason": found.refusal,
            "chosen": None if chosen is None else _row(chosen),
        }
        click.echo(json.dumps(said, indent=2))
        return
    _print(learned, chosen)
    click.echo(f"This cost {'an unknown sum' if found.cost_usd is None else usd(found.cost_usd)}.")
    if chosen is None:
        click.echo(f"{task.name}: {found.refusal}. Until then one tier answers alone.")
    else:
        click.echo(f"{task.name}: the step goes the way marked >, from now on.")


@route.command("status")
@click.argument("step", required=False)
@_JSON
def status(*, step: str | None, as_json: bool) -> None:
    """Say what was learned of each step, or of STEP, and what each way costs."""
    with _store() as store:
        names = [name for name in store.steps() if step in (None, name)]
        found = [each for name in names if (each := store.newest(name)) is not None]
    if step is not None and not found:
        raise click.ClickException(f"No route was learned for {step!r}. {_REMEDY}")
    if as_json:
        click.echo(json.dumps([_as_json(each) for each in found], indent=2))
        return
    if not found:
        click.echo(f"No route was learned yet. {_REMEDY}")
    for each in found:
        _print(each, None)


def _as_json(learned: "LearnedRoute") -> dict[str, Any]:
    return {
        "step": learned.step,
        "learned": _when(learned),
        "items": learned.items,
        "tiers": {
            name: {"quality": each.quality, "cost_usd": each.cost_usd}
            for name, each in learned.alone.items()
        },
        "offers": [_row(each) for reach in get_args(ReachName) for each in learned.of(reach)],
    }


def _row(offer: "Offer") -> dict[str, Any]:
    return {
        "reach": offer.reach,
        "cost_usd": offer.likely_usd,
        "quality": offer.right / offer.proved,
        "quality_lower": offer.quality_lower(_CONFIDENCE),
        "asks": offer.asks,
    }


def _print(learned: "LearnedRoute", chosen: "Offer | None") -> None:
    columns = [
        Column("way", folds=LEAST_KEY),
        number("USD an answer"),
        number("right"),
        number("proven at 95 %"),
        number("asks", 1),
    ]
    rows = list[Sequence[str] | None]()
    for name, alone in learned.alone.items():
        cost, right = f"{alone.cost_usd:.2g}", f"{alone.quality:.1%}"
        rows.append((f"  {escape(name)} alone", cost, right, "", "1"))
    for reach in get_args(ReachName):
        rows.append(None)
        for offer in learned.of(reach):
            row = _row(offer)
            rows.append(
                (
                    f"{'>' if offer == chosen else ' '} {reach}",
                    f"{row['cost_usd']:.2g}",
                    f"{row['quality']:.1%}",
                    f"{row['quality_lower']:.1%}",
                    f"{row['asks']:.2f}",
                )
            )
    items = plural(learned.items, "item")
    title = f"{escape(learned.step)}: learned {_when(learned)} from {items}"
    print_table(columns, rows, title=title)


def _when(learned: "LearnedRoute") -> str:
    return datetime.fromtimestamp(learned.at, UTC).isoformat(timespec="seconds")


@contextmanager
def _store() -> Generator[Routes]:
    with closing(open_routes(settings())) as store:
        yield store
