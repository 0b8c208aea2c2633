"""Part of the command line about what people have to say of answers."""

import getpass
import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict

import click

from ..settings import settings
from ..tracing import Ledger, Row, is_aside, open_ledger

_MOST_LISTED = 5


def existing_ledger() -> Ledger:
    """Return the ledger of the settings. Raises click.ClickException where there is none yet."""
    current = settings()
    # A look makes no folder.
    if current.store_url is None and not (current.home / "ledger.db").exists():
        raise click.ClickException(
            f"There is no ledger in {current.home}. Run a flow with an LLM step here, or go to the "
            "directory where it ran."
        )
    return open_ledger(current)


@click.command("feedback")
@click.argument("ref", metavar="REF")
@click.option("--score", type=click.FloatRange(0, 1), help="From 0 to 1, the best.")
@click.option("--label", help='A word or a few: "wrong language".')
@click.option("--name", default="satisfaction", show_default=True, help="Of what is looked at.")
@click.option("--why", help="In sentences. Stays in the store, unless a sink asks for it.")
@click.option("--step", help="Of which step, where REF names a run.")
@click.option("--reject", is_flag=True, help="Take the answer back: it is not served again.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def feedback(
    *,
    ref: str,
    score: float | None,
    label: str | None,
    name: str,
    why: str | None,
    step: str | None,
    reject: bool,
    as_json: bool,
) -> None:
    """Say how good an answer was, also days later.

    REF is the answer's reference (Answer.ref), which `tierflow runs last` and reports show; the id
    of its task run, as the Prefect UI shows it; the id of a flow run; or "last" for the last flow
    run. Of a run with several answers --step must leave one. What you say of an answer under one
    name later counts instead.
    """
    from ..tasks import close_hands, record_evaluation  # noqa: PLC0415  # imports Prefect

    if score is None and label is None:
        raise click.UsageError("Say something: give --score, --label, or both.")
    row = _answer(ref, step)
    try:
        found = record_evaluation(
            row.ref,
            name,
            score=score,
            label=label,
            explanation=why,
            evaluator=getpass.getuser(),
            reject=reject,
        )
    finally:
        # Sinks get it now.
        close_hands()
    if as_json:
        said = asdict(found)
        del said["explanation"]
        click.echo(json.dumps(said, indent=2))
        return
    value = " ".join(str(each) for each in (found.score, found.label) if each is not None)
    click.echo(f"{found.name} of an answer of {found.step} is {value} ({found.ref}).")
    if found.rejected:
        click.echo("It is taken out of the caches.")
    elif reject:
        click.echo("No cache keeps it.")


def _answer(ref: str, step: str | None) -> Row:
    with closing(existing_ledger()) as ledger:
        known = ledger.find(ref)
        if known is not None:
            if step not in {None, known.step}:
                raise click.ClickException(f"{ref} is an answer of {known.step}, not of {step}.")
            return known
        rows = _of_run(ledger, ref)
    found = [row for row in rows if row.outcome == "ok" and not is_aside(row.step)]
    if step is not None:
        found = [row for row in found if row.step == step]
    if len(found) == 1:
        return found[0]
    of_step = f" of {step!r}" if step is not None else ""
    if not found:
        if not rows:
            raise click.ClickException(
                f"{ref!r:.60} is no answer and no run in the ledger. Give a whole reference: "
                "`tierflow runs last` shows the newest, and code has it as `Answer.ref`."
            )
        steps = ", ".join(dict.fromkeys(row.step for row in rows))
        raise click.ClickException(
            f"The run {ref!r:.60} has no answer{of_step}. Its steps: {steps}."
        )
    raise click.ClickException(
        f"{ref} has {len(found):,} answers{of_step}. Narrow it down by --step, or name one by its "
        f"reference:\n{_listed(found)}"
    )


def _of_run(ledger: Ledger, ref: str) -> Sequence[Row]:
    if ref == "last":
        last = ledger.last_flow_run()
        return [] if last is None else ledger.of_flow_run(last)
    return ledger.of_task_run(ref) or ledger.of_flow_run(ref)


def _listed(rows: Sequence[Row]) -> str:
    lines = [f"  {row.ref}  {row.step}, {row.tier}, {row.at}" for row in rows[:_MOST_LISTED]]
    more = len(rows) - _MOST_LISTED
    return "\n".join([*lines, *([f"  and {more:,} more"] if more > 0 else [])])
