"""Part of the command line about capacity: replicas and profile for a promise."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ...plural import plural
from ...serving.simulation import Draft, Profile, read_cost
from ...serving.simulation.cost import H100_8B

if TYPE_CHECKING:
    from ...serving.simulation.planning import Candidate, Figures, Offer, Search

_PROFILES = "512,2048,8192,whole,2048+apart"
_PROMISES = {"ttft": "first tokens", "gap": "gaps"}
_POSITIVE = click.FloatRange(min=0, min_open=True)
_SHARE = click.FloatRange(min=0, max=1)


@click.command()
@click.option(
    "--trace",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="Requests as they came: .jsonl (Mooncake) or .csv (Azure), also with .gz.",
)
@click.option(
    "--slo-ttft-s", type=_POSITIVE, required=True, help="Seconds until a first token, at most."
)
@click.option(
    "--slo-gap-ms", type=_POSITIVE, required=True, help="Milliseconds between tokens, at most."
)
@click.option(
    "--percentile",
    type=click.FloatRange(min=0.5, max=1),
    default=0.99,
    show_default=True,
    help="Share of first tokens, and of gaps, that must keep it.",
)
@click.option(
    "--cost",
    "cost_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What `tierflow serving fit` measured. Without it: an H100 with an 8B model, calculated.",
)
@click.option(
    "--profiles",
    default=_PROFILES,
    show_default=True,
    help="Tokens of an iteration, or `whole` for prompts in one go; +draft speculates, +apart has "
    "prompts read by replicas of their own.",
)
@click.option(
    "--rate", type=_POSITIVE, default=1.0, show_default=True, help="So many times the load."
)
@click.option(
    "--limit", type=click.IntRange(min=1), help="Requests that count, from the first; default: all."
)
@click.option(
    "--kv-tokens",
    type=click.IntRange(min=1),
    default=400_000,
    show_default=True,
    help="Tokens in a replica's KV cache; the engine prints it when it starts.",
)
@click.option(
    "--max-num-seqs",
    type=click.IntRange(min=1),
    default=256,
    show_default=True,
    help="Requests that a replica computes at a time.",
)
@click.option(
    "--acceptance", type=_SHARE, help="Share of drafted tokens that is accepted, for +draft."
)
@click.option(
    "--draft-k",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Tokens drafted at a time.",
)
@click.option(
    "--draft-cost",
    type=click.FloatRange(min=0),
    default=0.1,
    show_default=True,
    help="What a pass of the draft takes, as a share of one of the model.",
)
@click.option(
    "--transfer-ms",
    type=click.FloatRange(min=0),
    default=3.0,
    show_default=True,
    help="Milliseconds to hand over the KV cache of 1,000 tokens, for +apart.",
)
@click.option(
    "--max-replicas",
    type=click.IntRange(min=1),
    default=256,
    show_default=True,
    help="The most that are tried.",
)
@click.option("--lanes/--no-lanes", default=True, help="Compare lanes for long prompts with none.")
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Draws which drafts are accepted."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def plan(  # noqa: PLR0917  # click names them all
    file: Path,
    slo_ttft_s: float,
    slo_gap_ms: float,
    percentile: float,
    cost_file: Path | None,
    profiles: str,
    rate: float,
    limit: int | None,
    kv_tokens: int,
    max_num_seqs: int,
    acceptance: float | None,
    draft_k: int,
    draft_cost: float,
    transfer_ms: float,
    max_replicas: int,
    lanes: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Find the least replicas, and their profile, that keep a promise.

    At a trace's load. Simulates vLLM's scheduler iteration by iteration, with requests routed to
    whoever has the least to read. Replicas are engines: with tensor parallelism, each is several
    GPUs. Asks no engine.
    """
    from ...serving.simulation.planning import (  # noqa: PLC0415  # takes simpy and numpy
        Search,
        Slo,
        best_of,
        candidate_of,
    )
    from ...serving.simulation.traces import read_trace  # noqa: PLC0415  # likewise

    cost = H100_8B if cost_file is None else read_cost(cost_file)
    trace = read_trace(file, rate=rate, limit=limit)
    base = Profile(
        max_num_seqs=max_num_seqs,
        kv_blocks=max(1, kv_tokens // trace.block_tokens),
        block_tokens=trace.block_tokens,
        draft=acceptance
        if acceptance is None
        else Draft(k=draft_k, acceptance=acceptance, cost=draft_cost),
    )
    candidates = [candidate_of(word.strip(), base, trace) for word in profiles.split(",")]
    with Progress(console=Console(stderr=True), transient=True) as bar:
        looking = bar.add_task("Simulating", total=None)

        def look(name: str, replicas: int) -> None:
            bar.update(looking, description=f"Simulating {name}, {replicas} replicas")

        search = Search(
            trace,
            cost,
            Slo(slo_ttft_s, slo_gap_ms, percentile),
            most=max_replicas,
            transfer_ms_per_ktoken=transfer_ms,
            seed=seed,
            on_look=look,
        )
        offers = [search.least(each) for each in candidates]
        compared = _lanes(search, offers) if lanes else []
    best = best_of(offers, search.strain)
    found = _found(search, offers, best, compared)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    _show(search, offers, best, compared)


def _lanes(search: "Search", offers: "Sequence[Offer]") -> "list[tuple[Candidate, str, Figures]]":
    """Return what lanes bring the best profile that has all on the same replicas."""
    from ...serving.simulation.planning import best_of  # noqa: PLC0415  # as above

    best = best_of(
        [
            each
            for each in offers
            if each.figures and each.figures.replicas > 1 and not each.candidate.apart
        ],
        search.strain,
    )
    if best is None or best.figures is None:
        return []
    found = search.lanes(best.candidate, best.figures.replicas)
    return [(best.candidate, name, figures) for name, figures in found]


def _found(
    search: "Search",
    offers: "Sequence[Offer]",
    best: "Offer | None",
    compared: "Sequence[tuple[Candidate, str, Figures]]",
) -> dict[str, Any]:
    return {
        "trace": search.trace.name,
        "requests": len(search.trace.jobs),
        "hours": search.trace.hours,
        "slo": asdict(search.slo),
        "cost": search.cost.model_dump(),
        "best": best and best.candidate.name,
        "profiles": [
            {
                "profile": each.candidate.name,
                "tried": each.tried,
                "broken": each.broken,
                **(asdict(each.figures) if each.figures else {}),
            }
            for each in offers
        ],
        "lanes": [
            {"profile": candidate.name, "lanes": name, **asdict(figures)}
            for candidate, name, figures in compared
        ],
    }


def _show(
    search: "Search",
    offers: "Sequence[Offer]",
    best: "Offer | None",
    compared: "Sequence[tuple[Candidate, str, Figures]]",
) -> None:
    slo, trace = search.slo, search.trace
    title = (
        f"{trace.name}: {len(trace.jobs):,} requests in {trace.hours:.2f} h; {slo.share:.1%} of "
        f"first tokens within {slo.ttft_s:g} s, of gaps within {slo.gap_ms:g} ms"
    )
    table = _table(title, "profile", "replicas")
    for each in offers:
        if each.figures is None:
            why = f"{_PROMISES[each.broken]} late with {each.tried}"
            table.add_row(each.candidate.name, why)
            continue
        apart = f" ({each.figures.prefill} read)" if each.figures.prefill else ""
        mark = "[bold]" if each is best else ""
        count = f"{each.figures.replicas}{apart}"
        table.add_row(f"{mark}{each.candidate.name}", f"{mark}{count}", *_cells(each.figures))
    table.caption = f"Cost: {search.cost.origin or 'unnamed'}. Prefix hits by perfect knowledge."
    console = Console()
    console.print(table)
    if len(compared) > 1:
        candidate, _, figures = compared[0]
        lanes = _table(f"Lanes on {figures.replicas} replicas of {candidate.name}", "lanes", "kept")
        for _, name, found in compared:
            lanes.add_row(name, "yes" if search.strain(found) <= 1 else "no", *_cells(found))
        console.print(lanes)
    if best is None or best.figures is None:
        console.print(
            "No profile keeps it. A late first token may be one prompt's own time: allow more "
            "(--slo-ttft-s), or try smaller chunks (--profiles) against long gaps."
        )
        return
    console.print(f"It takes {plural(best.figures.replicas, 'replica')} of {best.candidate.name}.")


def _table(title: str, first: str, second: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column(first, overflow="fold")
    table.add_column(second, overflow="fold")
    for heading in ("TTFT s", "mean", "gap ms", "longest", "hits", "busy"):
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _cells(figures: "Figures") -> list[str]:
    return [
        f"{figures.ttft_s:.2f}",
        f"{figures.ttft_mean_s:.2f}",
        f"{figures.gap_ms:.1f}",
        f"{figures.gap_max_ms:.0f}",
        f"{figures.hit_rate:.0%}",
        f"{figures.busy:.0%}",
    ]
