"""Part of the command line about what an engine's iterations cost, measured and fitted."""

import asyncio
import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ...errors import TierflowError
from ...plural import plural
from ...settings import shown_url

if TYPE_CHECKING:
    from ...serving.simulation import CostModel
    from ...serving.simulation.fit import Errors
    from ...serving.simulation.measurements import Measured

_FILE = click.Path(dir_okay=False, path_type=Path)
_MANY = click.IntRange(min=1)


@click.command()
@click.option("--url", "urls", multiple=True, help="An engine's api_base, which ends in /v1.")
@click.option(
    "--chunk",
    "chunks",
    type=click.IntRange(min=2),
    multiple=True,
    help="Its max-num-batched-tokens: one for each --url, in the same order.",
)
@click.option(
    "--measurements",
    "files",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="Runs that were measured before, as --keep wrote them.",
)
@click.option("--json", "out", type=_FILE, required=True, help="Where the cost model goes.")
@click.option("--keep", type=_FILE, help="Where the measured runs go, for --measurements.")
@click.option(
    "--decodes", type=_MANY, default=4, show_default=True, help="Streams that write meanwhile."
)
@click.option(
    "--prompt-tokens",
    type=_MANY,
    default=6000,
    show_default=True,
    help="Of the prompt that joins them; it must fit the model's window.",
)
@click.option("--repeats", type=_MANY, default=6, show_default=True, help="Runs of each engine.")
@click.option(
    "--hold-out",
    type=click.IntRange(min=2),
    help="Learn nothing from this chunk size, and report the error on it. Default: on every third "
    "run.",
)
@click.option("--api-key-env", help="The variable with the engines' key, where they want one.")
@click.option("--seed", type=int, help="Of the prompts. Equal prompts may be found in a cache.")
def fit(  # noqa: PLR0917  # click names them all
    urls: tuple[str, ...],
    chunks: tuple[int, ...],
    files: tuple[Path, ...],
    out: Path,
    keep: Path | None,
    decodes: int,
    prompt_tokens: int,
    repeats: int,
    hold_out: int | None,
    api_key_env: str | None,
    seed: int | None,
) -> None:
    """Measure what an engine's iterations cost, for `tierflow serving plan --cost`.

    A long prompt joins streams that write, some times over; while it is read, every gap between
    their tokens is one iteration. Two engines with different chunk sizes teach more than one. Keep
    them free of other requests meanwhile. Works with vLLM and SGLang. Ctrl-C ends it; with --keep
    the runs so far are kept, for --measurements.
    """
    if len(urls) != len(chunks):
        raise click.UsageError(
            f"{len(urls)} --url, {len(chunks)} --chunk. Give each engine's chunk size, in order."
        )
    if not urls and not files:
        raise click.UsageError("Nothing to learn from. Give --url and --chunk, or --measurements.")
    from ...serving.simulation.fit import (  # noqa: PLC0415  # takes numpy
        errors_of,
        held_out,
    )
    from ...serving.simulation.fit import fit as fitted  # noqa: PLC0415  # likewise
    from ...serving.simulation.measurements import (  # noqa: PLC0415  # likewise
        read_measurements,
        write_measurements,
    )

    runs = [run for file in files for run in read_measurements(file)]
    if urls:
        key = os.environ.get(api_key_env) if api_key_env else None
        measuring = _measure(
            urls, chunks, decodes, prompt_tokens, repeats, key=key, seed=seed, found=runs.append
        )
        try:
            asyncio.run(measuring)
        except (KeyboardInterrupt, TierflowError):
            if keep is not None and runs:
                write_measurements(runs, keep)
                click.echo(f"Ended early. {plural(len(runs), 'run')} kept in {keep}.", err=True)
            raise
    if keep is not None:
        write_measurements(runs, keep)
    if hold_out is None:
        learnt, held = held_out(runs)
    else:
        learnt = [run for run in runs if run.setting.max_num_batched_tokens != hold_out]
        held = [run for run in runs if run.setting.max_num_batched_tokens == hold_out]
        if not held:
            raise click.UsageError(f"No run has a chunk size of {hold_out} (--hold-out).")
    origin = ", ".join([*map(shown_url, urls), *(file.name for file in files)])
    cost = fitted(learnt, f"measured: {origin}")
    errors = errors_of(cost, held)
    found = {**cost.model_dump(), "errors": [_shown(each) for each in errors]}
    out.write_text(json.dumps(found, indent=2), encoding="utf-8")
    _show(cost, errors, len(learnt))
    click.echo(f"Wrote {out}. Go on with `tierflow serving plan --cost {out}`.")


async def _measure(
    urls: Sequence[str],
    chunks: Sequence[int],
    decodes: int,
    prompt_tokens: int,
    repeats: int,
    *,
    key: str | None,
    seed: int | None,
    found: "Callable[[Measured], None]",
) -> None:
    """Measure all engines, one after the other, so that a busy hour is every engine's."""
    from ...serving.load import LoadClient  # noqa: PLC0415  # only for those who measure
    from ...serving.simulation.measuring import Runs  # noqa: PLC0415  # likewise

    chance = Random(seed)  # noqa: S311  # prompts are no secrets
    async with AsyncExitStack() as stack:
        engines = [
            Runs(
                await stack.enter_async_context(LoadClient.connected(url, api_key=key)),
                chunk,
                time.perf_counter,
                chance,
            )
            for url, chunk in zip(urls, chunks, strict=True)
        ]
        with Progress(console=Console(stderr=True), transient=True) as bar:
            measuring = bar.add_task("Measuring", total=len(engines) * repeats)
            for engine in engines:
                await engine.warm_up()
            for _ in range(repeats):
                for engine in engines:
                    found(await engine.join(decodes, prompt_tokens))
                    bar.advance(measuring)


def _shown(errors: "Errors") -> dict[str, Any]:
    return {
        **errors.setting.model_dump(),
        **{name: value for name, value in asdict(errors).items() if name != "setting"},
    }


def _show(cost: "CostModel", errors: "Sequence[Errors]", learnt: int) -> None:
    console = Console()
    if not errors:
        console.print(
            "No run was held out: nothing was measured three times alike. Measure more (--repeats)."
        )
    table = Table(title=f"Off by, on runs held out ({learnt} runs taught)", title_justify="left")
    for heading in ("chunk", "runs", "p99 gap", "median gap", "mean TTFT"):
        table.add_column(heading, justify="right")
    for each in errors:
        table.add_row(
            f"{each.setting.max_num_batched_tokens:,}",
            str(each.runs),
            *(f"{value:.1%}" for value in (each.gap, each.gap_median, each.ttft)),
        )
    if errors:
        console.print(table)
    console.print(
        f"An iteration takes {cost.iteration_ms:.3g} ms, and {cost.token_ms:.3g} ms a token, "
        f"{cost.pair_ms:.3g} ms a token and token it attends to, {cost.decode_ms:.3g} ms a stream, "
        f"{cost.context_ms:.3g} ms a token of its context; a request {cost.request_ms:.3g} ms."
    )
    if not cost.token_ms and not cost.pair_ms:
        console.print(
            "Plan nothing with it: by these runs a prompt is read in no time, as it looks where "
            "tokens come in bursts. Measure more runs (--repeats), longer prompts "
            "(--prompt-tokens), or on a machine with nothing else to do."
        )
