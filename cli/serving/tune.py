"""Part of the command line about tuning: how much an iteration reads, how many at once."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ...engine_settings import EngineSettings
from ...serving.engines import launch_of, running, wait_until_healthy
from ...serving.load import LoadClient
from ...serving.tuning import (
    ChunkMeasured,
    LevelMeasured,
    Workload,
    choose_chunk,
    choose_level,
    measure_chunk,
    measure_level,
    to_measure,
    to_try,
)
from ...settings import settings
from .launch import check_is_free, engine_named, terminated_as_interrupted

_CHUNKS = "256,512,1024,2048,4096,8192"
_START_S = 1800.0
_COUNT = click.IntRange(min=1)


@click.command("tune")
@click.option("--engine", "engine", help="[engines.NAME]: find its chunk_tokens.")
@click.option("--pool", "pool", help="[pools.NAME]: find how many at once its first replica takes.")
@click.option("--url", "url", help="An api_base: find how many at once it takes.")
@click.option(
    "--slo-gap-ms",
    type=click.FloatRange(min=0, min_open=True),
    help="What the 99th percentile of gaps between tokens may be. Needed with --engine.",
)
@click.option(
    "--chunks", default=_CHUNKS, show_default=True, help="Candidates; each costs a start."
)
@click.option("--streams", type=_COUNT, default=4, show_default=True, help="Replies under way.")
@click.option(
    "--prompt-tokens", type=_COUNT, help="Of the prompts. [default: 4000; 128 for how many at once]"
)
@click.option(
    "--reply-tokens", type=_COUNT, help="Of the replies. [default: 1024; 64 for how many at once]"
)
@click.option("--joins", type=_COUNT, default=3, show_default=True, help="Prompts per candidate.")
@click.option("--most", type=_COUNT, default=64, show_default=True, help="Requests at once tried.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where measurements are kept as they come. [default: tuning/NAME.json in the home folder]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def serving_tune(  # noqa: PLR0917  # click names them all
    engine: str | None,
    pool: str | None,
    url: str | None,
    slo_gap_ms: float | None,
    chunks: str,
    streams: int,
    prompt_tokens: int | None,
    reply_tokens: int | None,
    joins: int,
    most: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Find the largest chunk that keeps gaps short, or the most at once.

    With --engine it starts the engine with each candidate, has long prompts join running replies,
    and measures their gaps. With --pool or --url it doubles the requests at once until twice in a
    row less than 5 % more tokens come out. Ctrl-C ends it; what was measured is kept.
    """
    if sum(each is not None for each in (engine, pool, url)) != 1:
        raise click.UsageError("Give one of --engine, --pool and --url.")
    if engine is not None and slo_gap_ms is None:
        raise click.UsageError("--engine needs --slo-gap-ms: a chunk is chosen by what it keeps.")
    home = settings().home / "tuning"
    file = out or home / f"{engine or pool or 'url'}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    tuning: _ChunkTuning | _LevelTuning
    if engine is not None and slo_gap_ms is not None:
        load = Workload(streams, prompt_tokens or 4000, reply_tokens or 1024, joins)
        tuning = _ChunkTuning(engine, _numbers(chunks), slo_gap_ms, load, file)
    else:
        load = Workload(streams, prompt_tokens or 128, reply_tokens or 64, joins)
        tuning = _LevelTuning(_asked(url, str(pool)), most, slo_gap_ms, load, file)
    try:
        with terminated_as_interrupted():
            asyncio.run(tuning.run())
    except KeyboardInterrupt:
        if not tuning.measured:
            _tell("Ended before anything was measured.")
            raise click.exceptions.Exit(1) from None
        _tell(f"Ended early. What was measured is kept in {file}.")
    found = tuning.found()
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    _show(found)
    click.echo(f"Kept in {file}")


class _ChunkTuning:
    """Starts an engine with candidate after candidate."""

    def __init__(
        self, name: str, candidates: list[int], slo_gap_ms: float, load: Workload, file: Path
    ) -> None:
        self.measured: list[ChunkMeasured] = []
        self._name, self._settings = name, engine_named(name)
        self._candidates, self._slo, self._load, self._file = candidates, slo_gap_ms, load, file

    async def run(self) -> None:
        plan = to_measure(self._candidates, self._slo)
        candidate = next(plan)
        try:
            while True:
                found = await self._measure(candidate)
                self.measured.append(found)
                _keep(self.found(), self._file)
                _tell(
                    f"{candidate} tokens: p99 gap {found.gap_p99_ms:.0f} ms, a prompt "
                    f"{found.ttft_ms:.0f} ms"
                )
                candidate = plan.send(found)
        except StopIteration:
            return

    async def _measure(self, chunk_tokens: int) -> ChunkMeasured:
        changed = self._settings.model_copy(update={"chunk_tokens": chunk_tokens})
        async with (
            _started(self._name, changed, self._file) as base,
            LoadClient.connected(base, model=changed.served_name or changed.model) as client,
        ):
            _tell(f"{chunk_tokens} tokens: measuring ...")
            return await measure_chunk(client, chunk_tokens, self._load)

    def found(self) -> Mapping[str, Any]:
        return {
            "engine": self._name,
            "slo_gap_ms": self._slo,
            "workload": asdict(self._load),
            "choice": asdict(choose_chunk(self.measured, self._slo)),
            "measured": [asdict(each) for each in self.measured],
        }


@dataclass(frozen=True, slots=True)
class _Asked:
    """A running engine. `model`: None for the first that it lists."""

    api_base: str
    model: str | None = None
    api_key: str | None = None


def _asked(url: str | None, pool: str) -> _Asked:
    if url is not None:
        return _Asked(url)
    address, steps = settings().pool(pool).address, settings().deployment_of(pool)
    if steps is None:
        return _Asked(address)
    key = os.environ.get(steps.api_key_env) if steps.api_key_env else None
    return _Asked(address, steps.model.partition("/")[2], key)


class _LevelTuning:
    """Asks a running engine more and more at once."""

    def __init__(
        self, asked: _Asked, most: int, slo_gap_ms: float | None, load: Workload, file: Path
    ) -> None:
        self.measured: list[LevelMeasured] = []
        self._asked, self._most, self._slo = asked, most, slo_gap_ms
        self._load, self._file = load, file

    async def run(self) -> None:
        plan = to_try(self._most)
        level = next(plan)
        asked = self._asked
        connecting = LoadClient.connected(asked.api_base, model=asked.model, api_key=asked.api_key)
        async with connecting as client:
            try:
                while True:
                    _tell(f"{level} at once: measuring ...")
                    found = await measure_level(client, level, self._load)
                    self.measured.append(found)
                    _keep(self.found(), self._file)
                    level = plan.send(found)
            except StopIteration:
                return

    def found(self) -> Mapping[str, Any]:
        return {
            "slo_gap_ms": self._slo,
            "workload": asdict(self._load),
            "choice": asdict(choose_level(self.measured, self._slo)),
            "measured": [asdict(each) for each in self.measured],
        }


@asynccontextmanager
async def _started(name: str, changed: EngineSettings, file: Path) -> AsyncGenerator[str]:
    launch = launch_of(name, changed)
    check_is_free(name, launch)
    log = file.with_suffix(f".{changed.chunk_tokens}.log")
    _tell(f"{changed.chunk_tokens} tokens: starting {name}; its log is {log}")
    with running(launch, log) as process:
        # In a thread, so that Ctrl-C is heard meanwhile.
        await asyncio.to_thread(
            wait_until_healthy, launch, process, timeout_s=_START_S, log=log, tell=_tell
        )
        yield launch.api_base


def _numbers(chunks: str) -> list[int]:
    try:
        found = [int(each) for each in chunks.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 1:
        raise click.UsageError(f"--chunks {chunks} is no list of tokens. Write it like {_CHUNKS}.")
    return found


def _keep(found: Mapping[str, Any], file: Path) -> None:
    # In one step: a file that is cut off in the middle would keep nothing.
    written = file.with_suffix(".part")
    written.write_text(json.dumps(found, indent=2), encoding="utf-8")
    written.replace(file)


def _show(found: Mapping[str, Any]) -> None:
    rows: list[dict[str, Any]] = sorted(found["measured"], key=lambda row: next(iter(row.values())))
    table = Table(title="Measured", title_justify="left")
    for heading in rows[0]:
        table.add_column(heading.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(*(f"{value:,.0f}" for value in row.values()))
    Console().print(table)
    choice = found["choice"]
    name, value = next(iter(choice.items()))
    click.echo(f"{name} = {value}: {choice['reason']}" if value else choice["reason"])


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201  # progress, beside what is printed
