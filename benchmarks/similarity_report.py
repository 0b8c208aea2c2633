"""Similarity report: the figures of many runs, as JSON data and as tables."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from .question_sets import Pairs, Stream
from .similarity_replay import Done

DECISION_BAR_MS = 0.3


def report(done: Sequence[Done], sets: Mapping[str, Stream | Pairs], seeds: int) -> dict[str, Any]:
    """Return what was found as JSON data. `seeds`: how many orders were tried for the proof."""
    found: dict[str, Any] = {
        "streams": defaultdict(dict),
        "pairs": defaultdict(dict),
        "in_file_order": defaultdict(dict),
        "baselines": defaultdict(dict),
        "counts": {},
    }
    decisions: list[float] = []
    findings: list[float] = []
    proofs: defaultdict[tuple[str, float], list[dict[str, float]]] = defaultdict(list)
    for each in done:
        job = each.job
        if job.promise is None:
            for baseline, figures in each.figures.items():
                found["baselines"][baseline][job.name] = figures
        elif job.proof:
            proofs[job.name, job.promise].append(each.figures)
        elif job.seed is None:
            found["in_file_order"][job.name][f"{job.promise:g}"] = each.figures
        else:
            kind = "streams" if isinstance(sets[job.name], Stream) else "pairs"
            found[kind][job.name][f"{job.promise:g}"] = each.figures
            found["counts"][job.name] = each.counts
            decisions += each.times.decisions
            findings += each.times.findings
    if seeds:
        found["broken"] = _broken(proofs)
    return {**found, "decision_ms": _percentiles(decisions), "find_ms": _percentiles(findings)}


def _broken(
    proofs: Mapping[tuple[str, float], Sequence[Mapping[str, float]]],
) -> dict[str, dict[str, Any]]:
    broken: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for (name, promise), runs in sorted(proofs.items()):
        times = sum(each["wrong_per_hit"] > promise for each in runs)
        broken[name][f"{promise:g}"] = {
            "seeds": len(runs),
            "broken": times,
            "rate": round(times / len(runs), 4),
            "worst": max(each["wrong_per_hit"] for each in runs),
            "mean_hit_rate": round(sum(each["hit_rate"] for each in runs) / len(runs), 5),
        }
    return broken


def _percentiles(ms: Sequence[float]) -> dict[str, float]:
    return {
        f"p{share}": round(float(np.percentile(ms, share)), 4) if ms else 0.0 for share in (50, 99)
    }


def show(found: Mapping[str, Any]) -> None:
    """Print the figures of streams and pairs, ours beside the baselines', and the proof."""
    console = Console()
    for title, kind, names in (
        (
            "Streams, in percent: hits, hits of the second half, wrong ones among hits",
            "streams",
            ("hit_rate", "second_half_hit_rate", "wrong_per_hit"),
        ),
        (
            "Pairs, in percent: recall, wrongly served of those that differ",
            "pairs",
            ("recall", "wrong_rate"),
        ),
    ):
        if found[kind]:
            console.print(_table(found, title, kind, names))
    for name, by_promise in found.get("broken", {}).items():
        for promise, row in by_promise.items():
            console.print(
                f"{name}: {promise} was passed in {row['broken']} of {row['seeds']} orders "
                f"({row['rate']:.1%}), at worst {row['worst']:.4f}"
            )
    met = "met" if found["decision_ms"]["p50"] <= DECISION_BAR_MS else "not met"
    console.print(
        f"decision_ms {found['decision_ms']}, CPU, without encoding and search of the index "
        f"(bar {DECISION_BAR_MS} at p50: {met}); find_ms {found['find_ms']}"
    )


def _table(found: Mapping[str, Any], title: str, kind: str, names: Sequence[str]) -> Table:
    """Return a table with a row for each way of deciding in each set."""
    promises = list(dict.fromkeys(each for row in found[kind].values() for each in row))
    table = Table(title=title, title_justify="left")
    for heading in (kind, "decided by", *(f"promise {each}" for each in promises)):
        table.add_column(heading)
    for name in sorted(found[kind]):
        ways = {"tierflow": found[kind][name]}
        if name in found["in_file_order"]:
            ways["tierflow, in file order"] = found["in_file_order"][name]
        ways |= {way: by_name[name] for way, by_name in found["baselines"].items()}
        for way, figures in ways.items():
            # A fixed threshold knows no promise: its figures are the same for all.
            cells = [figures.get(each, figures) for each in promises]
            shown = [" ".join(f"{100 * cell[each]:.1f}" for each in names) for cell in cells]
            table.add_row(name, way, *shown)
    return table
