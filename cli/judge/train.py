"""Part of the command line about judges that are learned from labelled items."""

import json
import tempfile
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from ...plural import plural


@click.command("train")
@click.argument("step")
@click.option(
    "--items",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help='JSON lines: the step\'s arguments by name, and "label" where known. 50 at least.',
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="Where the scorer goes, for `judge=trained(FILE)`. Replaced if it is there.",
)
@click.option("--tier", help="The cheaper tier. Default: the step's own.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def train(*, step: str, file: Path, out: Path, tier: str | None, as_json: bool) -> None:
    """Learn a judge for STEP from labelled items, and say whether it pays.

    Both tiers answer, and the helper of a judge trained(FILE, helper=...). STEP is module:function
    or path/to/file.py:function, and has a cascade; the judge's file need not be there yet. Without
    a label the strongest tier's answer counts as right.

    This asks models and costs money, and keeps nothing until its end. Asks and replies stay in
    memory: the file holds numbers and the names of features.

    Calibrate with other items: on those that it learned from, a judge looks better than it is.
    """
    from ...tasks.proving import read_items, train_judge  # noqa: PLC0415  # likewise
    from ..steps import load_step  # noqa: PLC0415  # imports Prefect

    if not out.parent.is_dir():
        raise click.ClickException(f"There is no folder {out.parent} for --out. Make it first.")
    task, items = load_step(step), read_items(file)
    with Progress(console=Console(stderr=True)) as bar:
        asking = bar.add_task(f"Asking the tiers of {task.name}", total=len(items))
        found = train_judge(task, items, tier=tier, ended=lambda: bar.advance(asking))
    _write(out, found.scorer.to_json())
    for at, error in list(found.errors.items())[:3]:
        click.echo(f"Item {at + 1} teaches nothing: {type(error).__name__}: {error}", err=True)
    worth, refusal = found.worth, found.refusal
    said = {
        "out": str(out),
        "items": found.items,
        "without_answers": len(found.errors),
        "weak_right": found.weak_right,
        "strong_right": found.strong_right,
        "saving": worth.saving if worth else None,
        "accepted": worth.accepted if worth else None,
        "pays": None if worth is None else refusal is None,
        "reason": refusal.reason if refusal else None,
    }
    if as_json:
        click.echo(json.dumps(said, indent=2))
        return
    click.echo(
        f"{out}: learned from {plural(found.items, 'item')}. Right: cheap tier "
        f"{found.weak_right:.1%}, strongest {found.strong_right:.1%}."
    )
    if worth is None:
        click.echo("What it saves cannot be told: a price is unknown.")
    else:
        click.echo(
            f"Expected saving at equal quality: {worth.saving:.0%}, with {worth.accepted:.0%} of "
            "the cheap replies kept and the judge included. This is no proof."
        )
    if refusal:
        click.echo(refusal.reason)
    click.echo(
        f"Calibrate with other items than {file}: these would prove nothing. "
        f"Run `tierflow judge calibrate {step} --items OTHER`."
    )


def _write(path: Path, text: str) -> None:
    # A step that runs meanwhile reads the old scorer or the new one, never half of it.
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}", delete=False
    ) as file:
        file.write(text)
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)
