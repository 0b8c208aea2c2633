"""Report: a flow run's rows, summed per step. Knows no Prefect and no store."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..percentiles import percentile
from ..plural import plural
from .ledger import Row, is_aside

TOTAL = "total"


@dataclass(frozen=True, slots=True)
class StepSummary:
    """One step's rows in numbers. Amounts in USD, times in ms; percentiles by nearest rank.

    `calls`: how often the step ran. `similar_hits`: answers that were given to a question that
    means the same. `cost_usd`: of the priced calls; `unpriced`: the others.
    `strongest_usd`: the answers' tokens at the price of the strongest tier, None if unpriced.
    `cached_read`, `cached_write`: input tokens that providers read from their prompt caches and
    wrote there; `saving_usd`: what that took off the price, below 0 where writes were in vain.
    `failed_aside`: of what was asked beside answers, in the shadow of a rollout say, how much
    failed; `failed_steps` has the rest.
    """

    step: str
    tiers: str
    calls: int
    exact_hits: int
    similar_hits: int
    escalations: int
    cost_usd: float
    strongest_usd: float | None
    p50_ms: float
    p95_ms: float
    ttft_p50_ms: float | None
    input_tokens: int
    cached_read: int
    cached_write: int
    saving_usd: float
    output_tokens: int
    failed_attempts: int
    failed_steps: int
    unpriced: int
    saved_usd: float
    failed_aside: int = 0


def summarise(rows: Sequence[Row]) -> list[StepSummary]:
    """Return a summary per step in order of appearance, and the total last."""
    steps = dict.fromkeys(row.step for row in rows)
    return [
        *(_sum(step, [row for row in rows if row.step == step]) for step in steps),
        _sum(TOTAL, rows),
    ]


def as_table(summaries: Iterable[StepSummary]) -> list[dict[str, Any]]:
    """Return summaries as rows of a table, rounded to what a reader can use."""
    return [
        {name: _rounded(name, value) for name, value in asdict(each).items()} for each in summaries
    ]


def headline(total: StepSummary) -> str:
    """Say in one line what a run cost, and what it would have cost on the strongest tier."""
    hits = total.exact_hits + total.similar_hits
    said = f"{plural(total.calls, 'call')}, {hits} from the cache, cost {usd(total.cost_usd)}"
    if total.unpriced:
        said += f" and {plural(total.unpriced, 'call')} without a known price"
    if total.failed_aside:
        said += f"; {total.failed_aside:,} asked beside the answers failed"
    if total.cached_read or total.cached_write:
        said += f"; prompt caches of the providers took off {usd(total.saving_usd)}"
    if total.strongest_usd is not None:
        said += f"; the same tokens at the strongest tier's price: {usd(total.strongest_usd)}"
    return said + "."


def newest_answers(rows: Sequence[Row]) -> list[Row]:
    """Return the last answer of each step, steps in order of appearance."""
    answers = [row for row in rows if row.outcome == "ok" and not is_aside(row.step)]
    return list({row.step: row for row in answers}.values())


def usd(amount: float) -> str:
    """Return an amount in dollars with at least two digits that say something."""
    if amount < 0:
        return f"-{usd(-amount)}"
    if amount == 0 or amount >= 1:
        return f"${amount:.2f}"
    return f"${amount:.{max(4, 1 - math.floor(math.log10(amount)))}f}"


def _sum(step: str, rows: Sequence[Row]) -> StepSummary:
    latencies = [row.latency_ms for row in rows]
    ttfts = [row.ttft_ms for row in rows if row.ttft_ms is not None]
    strongest = [row.strongest_usd for row in rows if row.strongest_usd is not None]
    return StepSummary(
        step=step,
        tiers=", ".join(dict.fromkeys(row.tier for row in rows)),
        calls=len(rows),
        exact_hits=sum(row.cache == "exact" for row in rows),
        similar_hits=sum(row.cache == "semantic" for row in rows),
        escalations=sum(row.escalations for row in rows),
        failed_attempts=sum(row.failed_attempts for row in rows),
        failed_steps=sum(row.outcome != "ok" for row in rows if not is_aside(row.step)),
        failed_aside=sum(row.outcome != "ok" for row in rows if is_aside(row.step)),
        input_tokens=sum(row.input_tokens for row in rows),
        cached_read=sum(row.cache_read_tokens for row in rows),
        cached_write=sum(row.cache_write_tokens for row in rows),
        saving_usd=math.fsum(row.saved_by_prefix_usd or 0.0 for row in rows),
        output_tokens=sum(row.output_tokens for row in rows),
        cost_usd=math.fsum(row.cost_usd or 0.0 for row in rows),
        unpriced=sum(row.cost_usd is None for row in rows),
        saved_usd=math.fsum(row.saved_usd or 0.0 for row in rows),
        strongest_usd=math.fsum(strongest) if strongest else None,
        p50_ms=percentile(latencies, 0.5) if latencies else 0.0,
        p95_ms=percentile(latencies, 0.95) if latencies else 0.0,
        ttft_p50_ms=percentile(ttfts, 0.5) if ttfts else None,
    )


def _rounded(name: str, value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return round(value, 1) if name.endswith("_ms") else round(value, 6)
