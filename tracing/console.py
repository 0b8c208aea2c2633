"""Console: what a run took, as a table in the terminal, and where to see the run itself."""

import time
from collections.abc import Sequence

from prefect.settings import PREFECT_API_URL
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

from ..tables import key, number, print_table
from .opening import rows_of
from .prefect_ui import unrecorded
from .report import TOTAL, StepSummary, headline, summarise, usd

_LOCAL_UI = "http://127.0.0.1:4200"
_POLL_S = 0.5
_PATIENCE_S = 600.0


def print_summaries(summaries: Sequence[StepSummary], *, title: str) -> None:
    """Print a run's summaries; the last one is the total."""
    # Most runs have no prefix that is long enough: then these would only make the table wide.
    is_cached = any(each.cached_read or each.cached_write for each in summaries)
    columns = [
        key("step"),
        number("calls"),
        number("hits", 3),
        number("esc.", 2),
        number("failed"),
        number("tok. in", 5),
        number("out", 6),
        number("cost"),
        *((number("read", 7), number("write", 8), number("saving", 4)) if is_cached else ()),
        number("strongest", 9),
        number("p50 ms", 1),
        number("p95", 1),
    ]
    rows = list[Sequence[str] | None]()
    for each in summaries:
        if each.step == TOTAL:
            rows.append(None)
        rows.append(_cells(each, is_cached=is_cached))
    print_table(columns, rows, title=title, padding=0)
    Console().print(headline(summaries[-1]), style="bold")


def _cells(each: StepSummary, *, is_cached: bool) -> Sequence[str]:
    return (
        escape(each.step),
        f"{each.calls:,}",
        f"{each.exact_hits:,}",
        f"{each.escalations:,}",
        f"{each.failed_attempts:,}",
        _thousands(each.input_tokens),
        _thousands(each.output_tokens),
        usd(each.cost_usd) + (f" +{each.unpriced}?" if each.unpriced else ""),
        *(_cached(each) if is_cached else ()),
        "?" if each.strongest_usd is None else usd(each.strongest_usd),
        f"{each.p50_ms:.0f}",
        f"{each.p95_ms:.0f}",
    )


def show_run(flow_run_id: str) -> None:
    """Print a flow run's cost table, wait until the server has recorded it, say where to look."""
    print_summaries(summarise(rows_of(flow_run_id)), title="Cost and latency per step")
    _await_server(flow_run_id)
    configured = PREFECT_API_URL.value()
    page = f"{(configured or _LOCAL_UI).removesuffix('/api')}/runs/flow-run/{flow_run_id}"
    first = "" if configured else "run `prefect server start`, then "
    Console().print(f"In the Prefect UI: {first}open {page}", soft_wrap=True)


def _await_server(flow_run_id: str) -> None:
    left = most = unrecorded(flow_run_id)
    if not most:
        return
    what = TextColumn("The Prefect server records the task runs")
    with Progress(what, BarColumn(), TextColumn("{task.percentage:.0f}%")) as progress:
        task = progress.add_task("", total=most)
        # A server that lost an event would never be done.
        until = time.monotonic() + _PATIENCE_S
        while left and time.monotonic() < until:
            time.sleep(_POLL_S)
            left = unrecorded(flow_run_id)
            progress.update(task, completed=most - left)


def _cached(each: StepSummary) -> tuple[str, str, str]:
    return _thousands(each.cached_read), _thousands(each.cached_write), usd(each.saving_usd)


def _thousands(count: int) -> str:
    return f"{count / 1000:,.0f}k" if count >= 10_000 else f"{count:,}"
