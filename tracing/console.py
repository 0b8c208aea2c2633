"""Console: a run's summary as a table in the terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from .report import TOTAL, StepSummary, headline


def print_summaries(summaries: Sequence[StepSummary], *, title: str) -> None:
    """Print a run's summaries; the last one is the total."""
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("step")
    for heading in ("calls", "hits", "escalated", "failed over", "tokens in", "cached", "out"):
        table.add_column(heading, justify="right")
    for heading in ("cost $", "strongest $", "p50 ms", "p95 ms", "TTFT ms"):
        table.add_column(heading, justify="right")
    for each in summaries:
        if each.step == TOTAL:
            table.add_section()
        table.add_row(
            each.step,
            *(
                f"{number:,}"
                for number in (
                    each.calls,
                    each.exact_hits,
                    each.escalations,
                    each.failed_attempts,
                    each.input_tokens,
                    each.cached_tokens,
                    each.output_tokens,
                )
            ),
            f"{each.cost_usd:.4f}" + (f" +{each.unpriced}?" if each.unpriced else ""),
            "?" if each.strongest_usd is None else f"{each.strongest_usd:.4f}",
            f"{each.p50_ms:.0f}",
            f"{each.p95_ms:.0f}",
            "" if each.ttft_p50_ms is None else f"{each.ttft_p50_ms:.0f}",
        )
    console = Console()
    console.print(table)
    console.print(headline(summaries[-1]))
