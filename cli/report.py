"""Part of the command line about single flow runs: the report of one, to read or to send."""

import json
from contextlib import closing
from pathlib import Path

import click

from ..settings import settings, shown_url
from ..tracing import open_ledger
from ..tracing.run_report import as_data, contents_of, markdown, page, read_run


@click.command()
@click.argument("flow_run")
@click.option(
    "--html",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write one page with pictures and every step, which needs no network and no script.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of Markdown.")
def report(*, flow_run: str, file: Path | None, as_json: bool) -> None:
    """Report a flow run: its cost, its times, what was escalated and what failed.

    FLOW_RUN is the id of a flow run, or "last". Prints Markdown, or with --html writes a page. What
    the Prefect UI shows of a run as its "report" artifact is the same, as it was at the run's end.
    """
    asked = last_flow_run() if flow_run == "last" else flow_run
    found = read_run(asked) if _has_ledger() else None
    if found is None:
        raise click.ClickException(
            f"No step of the flow run {asked!r} is in {_place()}. Give a flow run's id as the "
            'Prefect UI shows it, or "last"; the ledger knows the runs that wrote there.'
        )
    if file is not None:
        try:
            file.write_text(page(found), encoding="utf-8")
        except OSError as error:
            raise click.ClickException(f"{file} cannot be written: {error.strerror}.") from error
        click.echo(f"Wrote {file}", err=True)
    if as_json:
        click.echo(json.dumps(as_data(found), indent=2))
    elif file is None:
        click.echo(markdown(contents_of(found), pictures=False))


def last_flow_run() -> str:
    """Return the id of the flow run that wrote last. Raises ClickException if there is none."""
    if _has_ledger():
        with closing(open_ledger(settings())) as ledger:
            found = ledger.last_flow_run()
        if found is not None:
            return found
    raise click.ClickException(
        f"No flow run with an LLM step is in {_place()}. Run one here, or go to the directory "
        "where it ran."
    )


def _has_ledger() -> bool:
    # A look makes no folder.
    current = settings()
    return current.store_url is not None or (current.home / "ledger.db").exists()


def _place() -> str:
    current = settings()
    if current.store_url is None:
        return str(current.home / "ledger.db")
    return shown_url(current.store_url.get_secret_value())
