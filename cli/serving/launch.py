"""Part of the command line about starting engines: what is started, why so, and doing it."""

import json
import signal
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager
from threading import Thread
from urllib.parse import urlsplit

import click
from rich.console import Console
from rich.table import Table

from ...engine_settings import EngineSettings
from ...errors import ConfigError, EngineStartError
from ...serving.engines import Launch, is_secret, launch_of, running, wait_until_healthy
from ...settings import CONFIG_NAME, settings

_START_S = 1800.0
_LISTENS_S = 2.0
_replica = click.option(
    "--replica", type=click.IntRange(min=0), default=0, show_default=True, help="Which, from 0."
)
_arguments = click.argument("arguments", nargs=-1, type=click.UNPROCESSED)


def engine_named(name: str) -> EngineSettings:
    """Return `[engines.NAME]`. Raises ConfigError where there is none."""
    engines = settings().engines
    if name not in engines:
        known = f"Known: {', '.join(engines)}." if engines else "There is none."
        raise ConfigError(f"No engine {name!r}. {known} Add [engines.{name}] to {CONFIG_NAME}.")
    return engines[name]


@click.command("print")
@click.argument("name")
@_replica
@_arguments
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def serving_print(name: str, replica: int, arguments: tuple[str, ...], *, as_json: bool) -> None:
    """Show how an engine of [engines.NAME] is started, and why each option is set.

    Starts nothing. Engine arguments after -- are added as they stand.
    """
    launch = launch_of(name, engine_named(name), replica, arguments)
    if as_json:
        click.echo(json.dumps(_as_json(launch), indent=2))
        return
    table = Table(title=f"{name}, replica {replica}: {launch.api_base}", title_justify="left")
    table.add_column("option", overflow="fold")
    table.add_column("why", overflow="fold")
    for option in launch.options:
        table.add_row(("=" if option.is_variable else " ").join(option.written), option.why)
    if launch.arguments:
        table.add_row(" ".join(launch.arguments), "given as arguments")
    Console().print(table)
    click.echo(launch.as_shell())


@click.command("launch")
@click.argument("name")
@_replica
@click.option(
    "--timeout-s",
    type=click.FloatRange(min=0, min_open=True),
    default=_START_S,
    show_default=True,
    help="The engine is ended when it does not answer by then.",
)
@_arguments
def serving_launch(name: str, replica: int, timeout_s: float, arguments: tuple[str, ...]) -> None:
    """Start an engine of [engines.NAME] in the foreground, and say when it answers.

    Prints its api_base, for a tier or a pool, as a line of its own. Ctrl-C ends it. Engine
    arguments after -- are added as they stand.
    """
    launch = launch_of(name, engine_named(name), replica, arguments)
    check_is_free(name, launch)
    failed: list[EngineStartError] = []
    with terminated_as_interrupted(), running(launch) as process:

        def watch() -> None:
            try:
                wait_until_healthy(launch, process, timeout_s=timeout_s, tell=_tell)
            except EngineStartError as exc:
                failed.append(exc)
                process.terminate()
                return
            click.echo(launch.api_base)

        # The main thread waits for the engine, so that a signal is heard at once.
        watching = Thread(target=watch, name="tierflow-health", daemon=True)
        watching.start()
        try:
            code = process.wait()
        except KeyboardInterrupt:
            _tell(f"Ending {name} ...")
            return
        watching.join()
    if failed:
        raise failed[0]
    if code:
        raise EngineStartError(f"The engine {name} ended with {code}. Its output says why.")


def check_is_free(name: str, launch: Launch) -> None:
    """Check that nobody listens where an engine is to. Raises EngineStartError."""
    place = urlsplit(launch.api_base)
    try:
        socket.create_connection((place.hostname or "", place.port or 0), _LISTENS_S).close()
    except OSError:
        return
    # It would answer in the engine's place, and be taken for it.
    raise EngineStartError(
        f"Somebody listens at {place.netloc} already. End that first, or set another port in "
        f"[engines.{name}]."
    )


@contextmanager
def terminated_as_interrupted() -> Generator[None]:
    """Take SIGTERM for Ctrl-C meanwhile: a supervisor ends this process and its engine by it."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201  # from a thread that has no click context


def _as_json(launch: Launch) -> dict[str, object]:
    return {
        "argv": launch.argv,
        "environment": {
            name: "***" if is_secret(name) else value for name, value in launch.environment.items()
        },
        "api_base": launch.api_base,
        "options": [
            {"option": list(each.written), "why": each.why, "is_variable": each.is_variable}
            for each in launch.options
        ],
    }
