"""Part of the command line about judges: what is proven of them, and by which items."""

import getpass
import json
import time
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from ...routing.gate import Calibration, Calibrations, Refusal, State, open_calibrations
from ...settings import settings
from ...tables import LEAST_KEY, Column, key, number, print_table
from ...tracing.report import usd
from .review import mark, open_counts, review
from .train import train

_DAY_S = 86_400.0
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


@click.group()
def judge() -> None:
    """Prove that judges may accept, see what is proven, audit, close gates by hand.

    A gate is STEP@TIER: the judge of one step for the answers of one cheaper tier.
    """


@judge.command("calibrate")
@click.argument("step")
@click.option(
    "--items",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help='JSON lines: the step\'s arguments by name, and "label", "stratum" where known.',
)
@click.option("--tier", help="The cheaper tier. Default: the step's own.")
@_JSON
def calibrate(*, step: str, file: Path, tier: str | None, as_json: bool) -> None:
    """Ask about labelled items, and keep what that proves of STEP's judge.

    Both tiers answer, and the judge scores the cheaper one's replies. STEP is module:function or
    path/to/file.py:function. Without a label the strongest tier's answer counts as right. This asks
    models and costs money; what was asked is kept, so that a calibration that broke off goes on
    where it was.
    """
    from ...tasks.proving import calibrate_judge, read_items  # noqa: PLC0415  # likewise
    from ..steps import load_step  # noqa: PLC0415  # imports Prefect

    task, items = load_step(step), read_items(file)
    with Progress(console=Console(stderr=True)) as bar:
        asking = bar.add_task(f"Asking both tiers of {task.name}", total=len(items))
        found = calibrate_judge(task, items, tier=tier, ended=lambda: bar.advance(asking))
    proof, errors = found.proof, found.collected.errors
    calibration = proof.calibration
    for at, error in list(errors.items())[:3]:
        click.echo(f"Item {at + 1} has no outcome: {type(error).__name__}: {error}", err=True)
    said = {
        "gate": calibration.step,
        "opens": calibration.pooled.opens,
        "open_strata": list(calibration.open_strata),
        "reason": calibration.reason,
        "threshold": calibration.threshold,
        "items": proof.items,
        "without_outcome": len(errors),
        "accepted": proof.accepted,
        "weak_right": proof.weak_right,
        "strong_right": proof.strong_right,
        "cascade_right": proof.cascade_right,
        "saving": proof.saving,
        "cost_usd": found.collected.cost_usd,
    }
    if as_json:
        click.echo(json.dumps(said, indent=2))
        return
    with _store() as store:
        state = _word(calibration, store.state(calibration.step))[0]
    click.echo(f"{calibration.step}: {state}. {calibration.reason}.")
    click.echo(
        f"Right: cheap tier {proof.weak_right:.1%}, strongest {proof.strong_right:.1%}, "
        f"the cascade {proof.cascade_right:.1%} with {proof.accepted:.0%} accepted at a score of "
        f"{calibration.threshold:.3g} or more."
    )
    if proof.saving is not None:
        click.echo(f"Saving against the strongest alone: {proof.saving:.0%}, judge included.")
    click.echo(_cost(found.collected.cost_usd))


def _cost(cost_usd: float | None) -> str:
    if cost_usd is None:
        return "What this cost is unknown: a price is missing."
    return f"This cost {usd(cost_usd)}."


@judge.command("status")
@click.argument("gate", required=False)
@_JSON
def status(*, gate: str | None, as_json: bool) -> None:
    """Say of each judge, or of GATE, what is proven, and what audits found since.

    The last refusal is what a running step was told since the newest calibration: whether that is
    of the prompt and the models in use, only the step knows.
    """
    waiting = open_counts()
    with _store() as store:
        rows = [
            _row(name, store, waiting.get(name, 0))
            for name in store.steps()
            if gate in (None, name)
        ]
    if gate is not None and not rows:
        raise click.ClickException(f"Nothing is known of {gate!r}. {_REMEDY}")
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        click.echo(f"No judge is calibrated yet. {_REMEDY}")
        return
    columns = [
        key("gate"),
        Column("state"),
        number("threshold", 3),
        Column("calibrated", folds=10, spare=1),
        Column("audits right", folds=8, spare=2),
        Column("why", folds=LEAST_KEY),
    ]
    print_table(columns, [_cells(row) for row in rows], title="Judges")
    for row in rows:
        if row["last_refused"] is not None:
            gate, at, reason = row["gate"], row["last_refused"], row["last_refusal"]
            click.echo(f"{gate} was last refused {at}: {reason}")


def _cells(row: dict[str, Any]) -> Sequence[str]:
    return (
        escape(row["gate"]),
        row["state"],
        "" if row["threshold"] is None else f"{row['threshold']:.3g}",
        row["calibrated"] or "never",
        _audits(row),
        escape(row["why"]),
    )


_REMEDY = "Run `tierflow judge calibrate STEP --items FILE`."


def _audits(row: dict[str, Any]) -> str:
    said = f"{row['audits_right']} of {row['audits']}" if row["audits"] else "none"
    return f"{said}, {row['open_reviews']} to review" if row["open_reviews"] else said


def _row(gate: str, store: Calibrations, open_reviews: int) -> dict[str, Any]:
    calibration, state = store.newest(gate), store.state(gate)
    word, why = _word(calibration, state)
    refusal = _since(calibration, store.refusal(gate))
    return {
        "gate": gate,
        "state": word,
        "why": why,
        "threshold": None if calibration is None else calibration.threshold,
        "calibrated": None if calibration is None else _iso(calibration.at),
        "audits": state.audited,
        "audits_right": state.right,
        "drift": round(state.evidence, 4),
        "open_reviews": open_reviews,
        "last_refused": None if refusal is None else _iso(refusal.at),
        "last_refusal": None if refusal is None else refusal.reason,
    }


def _since(calibration: Calibration | None, refusal: Refusal | None) -> Refusal | None:
    """Return a refusal that came after the newest calibration; an older one is settled."""
    newest = None if calibration is None else calibration.id
    return refusal if refusal is not None and refusal.calibration == newest else None


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _word(calibration: Calibration | None, state: State) -> tuple[str, str]:
    if state.hand is not None and state.hand.closed:
        return "closed", f"by {state.hand.who}: {state.hand.why}"
    if calibration is None:
        return "closed", "no calibration"
    if state.alarmed_at is not None:
        return "closed", "audits found too many wrong answers; calibrate anew"
    age_s = time.time() - calibration.at
    if age_s > calibration.max_age_s:
        most = calibration.max_age_s / _DAY_S
        return "closed", f"{age_s / _DAY_S:.1f} days old, over the {most:g} allowed"
    return calibration.state, calibration.reason


@judge.command("close")
@click.argument("gate")
@click.option("--why", required=True, help="What others should know.")
@_JSON
def close(*, gate: str, why: str, as_json: bool) -> None:
    """Close GATE (STEP@TIER) by hand: the strong tier answers until it opens."""
    with _store() as store:
        known = store.steps()
        if gate not in known:
            raise click.ClickException(
                f"Nothing is known of {gate!r}. Known: {', '.join(known) or 'none'}."
            )
        store.set_state(gate, closed=True, why=why, who=getpass.getuser(), at=time.time())
        word, reason = _word(store.newest(gate), store.state(gate))
    if as_json:
        click.echo(json.dumps({"gate": gate, "state": word, "why": reason}, indent=2))
        return
    click.echo(f"{gate} is closed. Every process sees it within seconds.")


@judge.command("open")
@click.argument("gate")
@click.option("--why", default="", help="What others should know.")
@_JSON
def open_(*, gate: str, why: str, as_json: bool) -> None:
    """Take back that GATE (STEP@TIER) was closed by hand.

    It opens only if its proof holds.
    """
    with _store() as store:
        store.set_state(gate, closed=False, why=why, who=getpass.getuser(), at=time.time())
        word, reason = _word(store.newest(gate), store.state(gate))
    if as_json:
        click.echo(json.dumps({"gate": gate, "state": word, "why": reason}, indent=2))
        return
    click.echo(f"{gate} is {word}: {reason}.")


judge.add_command(train)
judge.add_command(review)
judge.add_command(mark)


@contextmanager
def _store() -> Generator[Calibrations]:
    with closing(open_calibrations(settings())) as store:
        yield store
